"""Interledger: OER, ILPv4 packets, addresses, and what peers ask each other under `peer.`.

Pure: bytes in, values out; no sockets, no clock, no database, and nothing of the ledgers below. Whatever a stranger's
bytes are, they are refused with an `InterledgerError` and nothing else.
"""
