"""The Moneysocket protocol, sans-I/O: bytes in, events out; and over real sockets in `stacks`.

A wallet and an application meet at a rendezvous that both derive from one secret, the beacon's seed, and then ask
each other for invoices and payments over encrypted frames. This package speaks version 0 of the protocol as the two
reference libraries speak it (py-moneysocket, js-moneysocket), byte for byte in the dialect of either, and reads and
writes the codecs of the draft of version 1 (`v1`).

Outside of `stacks` nothing opens a socket or reads a clock: time, randomness and frames are handed in, what is to be
sent and what has happened is handed out. Whatever a stranger sends, only `MoneysocketError` is ever raised.
"""
