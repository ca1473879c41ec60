"""The vault's wallet: one address, one unit at a time, journal first."""

from worker.wallet.orders import Purpose, UnitOrder, Urgency
from worker.wallet.spending import Spending
from worker.wallet.wallet import Wallet
from worker.wallet.withdrawing import order_withdrawal

__all__ = ["Purpose", "Spending", "UnitOrder", "Urgency", "Wallet", "order_withdrawal"]
