"""What a user imports or types: the payer SDK (`from sluice import Payer`) and the command line `sluice`.

The names are loaded when first used: commands and embedded servers that pay nothing do not wait for them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sluice.payer import (
        ChannelOpeningError,
        LedgerError,
        Payer,
        PayerChannel,
        PayerError,
        PayerOptions,
        PaymentRefusedError,
        PaymentUncertainError,
        Receipt,
        RequestError,
        RequestTerms,
        SettlementSummary,
        SignedPackage,
        SyncPayer,
        SyncPayerChannel,
        UnknownChannelError,
        WalletError,
    )

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


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("sluice.payer"), name)
