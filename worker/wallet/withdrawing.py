"""Paying anybody out of the wallet, once for each request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.obyte.coins import BASE
from shared.obyte.composing import Output
from shared.store import journal
from shared.store.journal import UnitState
from worker.wallet.orders import Purpose, UnitOrder

if TYPE_CHECKING:
    from shared.store.database import Connection

WITHDRAW = "withdraw"


def order_withdrawal(
    address: str, amount: int | None, asset: str = BASE, *, reference: str, to_agent: bool = False
) -> UnitOrder:
    """Return the order to pay `amount` (smallest unit of `asset`; None: all beyond the reserve) to `address`.

    `reference` names the request: it is paid once, however often it is ordered. Without `to_agent` an agent as payee
    stops it. Posting it raises PostingError, among others `payee_is_agent`, `reserve_needed`, `bad_output`.
    """

    async def is_wanted(conn: Connection) -> bool:
        made = await journal.of_reference(conn, reference)
        return all(entry.state is UnitState.FAILED for entry in made if entry.purpose == WITHDRAW)

    return UnitOrder(
        purpose=Purpose(WITHDRAW, reference=reference),
        payments=(Output(address, 1 if amount is None else amount, asset),),
        messages=(),
        is_wanted=is_wanted,
        max_aa_responses=None,
        sends_all=amount is None,
        refuses_agents=not to_agent,
    )
