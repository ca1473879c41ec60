"""The payer SDK (`from sluice import Payer`) and the command line `sluice`.

The names are loaded when first used: commands and embedded servers that pay nothing do not wait for them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sluice.payer import Payer, PayerChannel, PayerOptions
    from sluice.payer_errors import (
        ChannelOpeningError,
        LedgerError,
        PayerError,
        PaymentRefusedError,
        PaymentUncertainError,
        UnknownChannelError,
        WalletError,
    )
    from sluice.payer_payments import Receipt
    from sluice.payer_wallet import SettlementSummary

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
    "SettlementSummary",
    "UnknownChannelError",
    "WalletError",
]

_HOMES = {
    "Payer": "sluice.payer",
    "PayerChannel": "sluice.payer",
    "PayerOptions": "sluice.payer",
    "Receipt": "sluice.payer_payments",
    "SettlementSummary": "sluice.payer_wallet",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "sluice.payer_errors")), name)
