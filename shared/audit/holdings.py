"""Channels against what a hub says of their agents now: what is not proven raises no claim, but tells where to look.

The ledger moves on while the snapshot stands still: only a channel whose agent has told nothing new since is compared.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shared.audit.auditing import Finding
from shared.channels.model import Status
from shared.obyte.coins import BASE
from shared.obyte.errors import ObyteError
from shared.store import channels
from shared.store.audit import reading

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shared.audit.auditing import Progress
    from shared.obyte.hub_client import HubClient
    from shared.obyte.serialization import JsonValue
    from shared.store.channel_rows import StoredChannel
    from shared.store.database import Connection

MOST_FEES = 10_000
"""Bytes that one answer of an agent costs at most. It pays for it from the deposits, where those are bytes."""
PAGE = 100
AT_A_TIME = 8
_AGREES = ("agent_agrees", "The agent's state variables say of a channel what our books say.")
_HOLDS = (
    "agent_holds_deposits",
    "An agent holds what both sides have deposited, but for what the network took for it.",
)


@dataclass(slots=True)
class Holdings:
    """What came of the comparison. `compared` of `channels`: the ledger has news of the others, or the hub knows none.

    `unanswered`: channels that the hub did not answer about.
    """

    agrees: Finding = field(default_factory=lambda: Finding(*_AGREES))
    holds: Finding = field(default_factory=lambda: Finding(*_HOLDS))
    channels: int = 0
    compared: int = 0
    unanswered: int = 0


class Comparison:
    """Compares every channel that the ledger knows, some at a time.

    `differs` holds a channel against state variables: None when the agent has told something new since, else whether
    they differ.
    """

    def __init__(
        self, client: HubClient, differs: Callable[[StoredChannel, Mapping[str, JsonValue]], bool | None]
    ) -> None:
        self._client = client
        self._differs = differs
        self._turn = asyncio.Semaphore(AT_A_TIME)

    async def run(self, conn: Connection, progress: Progress, *, most_rows: int = 20) -> Holdings:
        """Compare them all. Raises StoreError; a hub that does not answer is counted."""
        found = Holdings()
        after = ""
        total = await reading.count_opened(conn)
        while addresses := await reading.opened(conn, after, limit=PAGE):
            stored = await channels.find(conn, addresses)
            results = await asyncio.gather(*(self._compare(stored[address]) for address in addresses))
            for rows in results:
                found.channels += 1
                found.unanswered += rows is None
                found.compared += bool(rows and rows.is_comparable)
                if rows is not None:
                    _add(found.agrees, rows.disagreement, most_rows)
                    _add(found.holds, rows.shortage, most_rows)
            after = addresses[-1]
            progress.walked("agents", found.channels, total)
        return found

    async def _compare(self, stored: StoredChannel) -> _Compared | None:
        address = stored.channel.aa_address
        async with self._turn:
            try:
                variables = await self._client.get_aa_state_vars(address)
                balances = await self._client.request("light/get_balances", [address])
            except ObyteError:
                return None
        differs = self._differs(stored, variables)
        if differs is None:
            return _Compared(is_comparable=False)
        compared = _Compared(is_comparable=True)
        channel = stored.channel
        if differs:
            compared.disagreement = {
                "aa_address": address,
                "status": channel.status.value,
                "period": channel.period,
                "deposited_by_peer": channel.deposited_by_peer,
                "deposited_by_me": channel.deposited_by_me,
                "agent": {name: variables[name] for name in sorted(variables)[:_MOST_VARIABLES]},
            }
        owed = channel.deposited_by_peer + channel.deposited_by_me
        fees = MOST_FEES * channel.last_event_id if channel.asset == BASE else 0
        held = _held(balances, address, channel.asset)
        if channel.status is not Status.CLOSED and held < owed - fees:
            compared.shortage = {"aa_address": address, "asset": channel.asset, "deposited": owed, "held": held}
        return compared


_MOST_VARIABLES = 20


@dataclass(slots=True)
class _Compared:
    is_comparable: bool
    disagreement: dict[str, Any] | None = None
    shortage: dict[str, Any] | None = None


def _add(finding: Finding, row: dict[str, Any] | None, most_rows: int) -> None:
    if row is None:
        return
    if len(finding.rows) < most_rows:
        finding.rows.append(row)
    else:
        finding.is_cut = True


def _held(balances: JsonValue, address: str, asset: str) -> int:
    found: Any = balances if isinstance(balances, dict) else {}
    for name in (address, asset, "total"):
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, int) else 0
