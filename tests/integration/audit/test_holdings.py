"""Channels against what a hub says of their agents: on a real ledger, and where a hub says something else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from shared.audit.auditing import Silent
from shared.audit.holdings import Comparison, Holdings
from shared.obyte.hub_client import HubClient
from shared.obyte.hub_errors import HubRequestError
from shared.obyte.networks import DEVNET
from shared.store.audit.reading import snapshot
from sluice.cli.audit import _differs
from tests.integration.audit.books import PAID_CHANNEL, RECEIVING, keep_books
from tests.integration.worker.conftest import *  # noqa: F403 - a worker on a local ledger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.integration.worker.support import World


async def test_after_a_life_on_a_ledger_books_and_agents_agree(world: World) -> None:
    peer = await world.peer()
    async with world.running():
        await world.open(peer)
        await world.pay(peer, 4_000)
    async with snapshot(world.database_url, statement_s=5) as conn, HubClient(world.devnet.url, DEVNET) as hub:
        found = await Comparison(hub, _differs).run(conn, Silent())

    assert (found.channels, found.compared, found.unanswered) == (1, 1, 0)
    assert found.agrees.rows == found.holds.rows == []


class Hub:
    """Says of each agent what a test wants it to."""

    def __init__(self) -> None:
        self.variables: dict[str, dict[str, Any]] = {
            RECEIVING.channel: {"event_id": 2, "period": 1, "balanceA": 0, "balanceB": 200},
            PAID_CHANNEL: {"event_id": 5, "period": 2, "balanceA": 0, "balanceB": 500_000},
        }
        self.held: dict[str, int] = {RECEIVING.channel: 10_000, PAID_CHANNEL: 499_000}

    async def get_aa_state_vars(self, address: str) -> dict[str, Any]:
        if address not in self.variables:
            raise HubRequestError("light/get_aa_state_vars", "no such agent")
        return self.variables[address]

    async def request(self, _: str, addresses: list[str]) -> dict[str, Any]:
        return {address: {"base": {"total": self.held[address]}} for address in addresses}


@pytest.fixture
async def conn(database_url: str) -> AsyncIterator[asyncpg.Connection[Any]]:
    connection = await asyncpg.connect(database_url)
    async with connection.transaction():
        await keep_books(connection)
        yield connection
    await connection.close()


async def compared(hub: Hub, conn: asyncpg.Connection[Any]) -> Holdings:
    return await Comparison(hub, _differs).run(conn, Silent())  # type: ignore[arg-type]


async def test_a_hub_that_does_not_answer_about_a_channel_is_counted(conn: asyncpg.Connection[Any]) -> None:
    found = await compared(Hub(), conn)

    assert (found.channels, found.compared, found.unanswered) == (3, 2, 1)
    assert found.agrees.rows == found.holds.rows == []


async def test_an_agent_with_other_balances_is_told(conn: asyncpg.Connection[Any]) -> None:
    hub = Hub()
    hub.variables[RECEIVING.channel]["balanceB"] = 199

    [row] = (await compared(hub, conn)).agrees.rows

    assert row["aa_address"] == RECEIVING.channel
    assert row["agent"]["balanceB"] == 199


async def test_an_agent_that_has_news_is_not_compared(conn: asyncpg.Connection[Any]) -> None:
    hub = Hub()
    hub.variables[RECEIVING.channel] |= {"event_id": 3, "balanceB": 199}

    found = await compared(hub, conn)

    assert (found.agrees.rows, found.compared) == ([], 1)


async def test_deposits_that_an_agent_does_not_hold_are_told(conn: asyncpg.Connection[Any]) -> None:
    """Fees of its four answers may be missing, no more."""
    hub = Hub()
    hub.held[PAID_CHANNEL] = 460_000
    assert (await compared(hub, conn)).holds.rows == []
    hub.held[PAID_CHANNEL] = 459_999

    [row] = (await compared(hub, conn)).holds.rows

    assert row == {"aa_address": PAID_CHANNEL, "asset": "base", "deposited": 500_000, "held": 459_999}
