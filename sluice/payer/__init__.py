"""The payer: a wallet of its own, channels to receivers, payments that are stored before they are sent.

What a program uses is here and in `sluice` itself; the modules are one part of the payer each: `payer` puts them
together, `opening`, `payments` and `settling` are the life of a channel, `book` its state, `wallet` and `posting` the
ledger, `peers` the receivers, `store` the disk, `sync` the payer for programs without an event loop.
"""

from __future__ import annotations

from sluice.payer.channel import PayerChannel
from sluice.payer.errors import (
    ChannelOpeningError,
    LedgerError,
    PayerError,
    PaymentRefusedError,
    PaymentUncertainError,
    UnknownChannelError,
    WalletError,
)
from sluice.payer.payer import Payer, PayerOptions
from sluice.payer.payments import Receipt, SignedPackage
from sluice.payer.requests import RequestError, RequestTerms
from sluice.payer.sync import SyncPayer, SyncPayerChannel
from sluice.payer.wallet import SettlementSummary

__all__ = [
    "ChannelOpeningError",
    "LedgerError",
    "Payer",
    "PayerChannel",
    "PayerError",
    "PayerOptions",
    "PaymentRefusedError",
    "PaymentUncertainError",
    "Receipt",
    "RequestError",
    "RequestTerms",
    "SettlementSummary",
    "SignedPackage",
    "SyncPayer",
    "SyncPayerChannel",
    "UnknownChannelError",
    "WalletError",
]
