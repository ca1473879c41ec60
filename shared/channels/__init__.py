"""The rules about money in a payment channel.

Pure functions over frozen dataclasses: no I/O, no clock, no database, and nothing of the rest of the
project. Everyone who moves money in a channel (the fronts accepting, the worker watching and settling,
a payer paying) asks these functions; nobody repeats their arithmetic.

The rules come from the channels agent 1.1 (what the ledger will enforce) and from the peer protocol of
the JavaScript channels library (what peers expect), without that library's known defects.
"""
