"""A channel beside the state variables of its agent."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from shared.channels.model import Channel, Status
from shared.obyte.hub_errors import HubRequestError
from shared.store import channels
from tests.unit.worker.hub_fakes import Board, Time
from worker.cross_checks import Agreement, CrossCheckPace, CrossChecks, compare
from worker.errors import WithholdingHubError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

AGENT = "A" * 32
OPEN = Channel(
    aa_address=AGENT,
    own_address="W" * 32,
    peer_address="P" * 32,
    asset="base",
    timeout_s=1_000,
    status=Status.OPEN,
    period=2,
    deposited_by_me=7,
    deposited_by_peer=500,
    last_event_id=5,
)
STATE: dict[str, Any] = {"event_id": 6, "period": 2, "balanceA": 7, "balanceB": 500}


class Stored:
    """A channel's row as far as it matters here."""

    def __init__(self, channel: Channel, role: str = "A") -> None:
        self.channel = channel
        self.role = role


def judged(channel: Channel, state: dict[str, Any], role: str = "A") -> Agreement:
    stored: Any = Stored(channel, role)
    return compare(stored, state)


@pytest.mark.parametrize(
    ("channel", "role", "state"),
    [
        (OPEN, "A", STATE),
        (OPEN, "A", STATE | {"event_id": "6", "balanceB": 500.0}),
        (OPEN, "B", STATE | {"balanceA": 500, "balanceB": 7}),
        (replace(OPEN, status=Status.CLOSING_BY_PEER), "A", STATE | {"close_initiated_by": "B", "spentByA": 3}),
        (
            replace(OPEN, status=Status.CLOSING_BY_ME),
            "B",
            STATE | {"balanceA": 500, "balanceB": 7, "close_initiated_by": "B"},
        ),
        (replace(OPEN, status=Status.CLOSED), "A", {"event_id": 6, "period": 3}),
        (replace(OPEN, status=Status.CLOSED, period=0, last_event_id=0), "A", {}),
    ],
)
def test_what_the_same_events_lead_to_is_the_same(channel: Channel, role: str, state: dict[str, Any]) -> None:
    assert judged(channel, state, role) is Agreement.SAME


@pytest.mark.parametrize("number", [1, 5, 7, None, "x", True])
def test_another_event_is_nothing_to_compare_with(number: Any) -> None:
    assert judged(OPEN, STATE | {"event_id": number, "balanceB": 1}) is Agreement.OTHER_EVENT


@pytest.mark.parametrize(
    "change", [{"balanceA": 8}, {"balanceB": 499}, {"balanceB": "x"}, {"period": 3}, {"close_initiated_by": "A"}]
)
def test_other_values_after_the_same_events_are_a_contradiction(change: dict[str, Any]) -> None:
    assert judged(OPEN, STATE | change) is Agreement.CONTRADICTION


class World:
    """Cross-checks of one channel by a hub that says what a test lets it say."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.time = Time()
        self.board: Any = Board()
        self.says: Any = dict(STATE)
        self.asked = 0

        async def find(_conn: Any, addresses: Any) -> Any:
            return {address: Stored(OPEN) for address in addresses if address == AGENT}

        monkeypatch.setattr(channels, "find", find)
        guard: Any = self
        pace = CrossCheckPace(again_s=10, patience_s=100, per_look=2)
        self.checks = CrossChecks(guard, self.board, lambda: self.time.monotonic_s, pace)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        yield None

    async def get_aa_state_vars(self, _address: str) -> Any:
        self.asked += 1
        if isinstance(self.says, Exception):
            raise self.says
        return self.says

    async def look(self) -> bool:
        client: Any = self
        return AGENT in await self.checks.look(client)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


async def test_a_channel_that_agrees_is_asked_about_once(world: World) -> None:
    world.checks.ask_for(AGENT)
    world.checks.ask_for("Z" * 32)
    assert not await world.look()
    world.time.pass_by(1_000)
    assert not await world.look()
    assert world.asked == 1


async def test_an_event_that_cannot_be_proven_yet_is_waited_for(world: World) -> None:
    world.says = STATE | {"event_id": 7}
    world.checks.ask_for(AGENT)
    assert not await world.look()
    world.time.pass_by(9)
    assert not await world.look()
    assert world.asked == 1
    world.time.pass_by(1)
    assert not await world.look()
    world.says = STATE
    world.time.pass_by(10)
    assert not await world.look()
    world.time.pass_by(1_000)
    assert not await world.look()
    assert (world.asked, world.board.raised) == (3, [])


@pytest.mark.parametrize("says", [STATE | {"event_id": 7}, STATE | {"event_id": 3}, HubRequestError("x", "not an AA")])
async def test_an_event_that_is_never_proven_is_kept_back(world: World, says: Any) -> None:
    world.says = says
    world.checks.ask_for(AGENT)
    assert not await world.look()
    world.time.pass_by(50)
    assert await world.look()  # read from the beginning first
    world.time.pass_by(50)
    with pytest.raises(WithholdingHubError):
        await world.look()
    world.checks.start_over()
    world.time.pass_by(10)
    assert not await world.look()  # another hub has its own time


async def test_a_contradiction_is_read_again_and_then_told_until_it_is_gone(world: World) -> None:
    world.says = STATE | {"balanceB": 1}
    world.checks.ask_for(AGENT)
    assert not await world.look()
    world.time.pass_by(10)
    assert await world.look()
    assert not world.board.standing
    world.time.pass_by(10)
    assert not await world.look()
    assert list(world.board.standing) == [("channel_contradicts_ledger", AGENT)]
    world.says = STATE
    world.time.pass_by(10)
    assert not await world.look()
    assert not world.board.standing


def test_all_channels_take_their_turns(world: World) -> None:
    watched = {"A", "B", "C"}
    due = world.checks._due
    world.checks.take_turns(watched)
    assert set(due) == {"A", "B"}
    due.clear()
    world.checks.take_turns(watched)
    assert set(due) == {"C"}
    due.clear()
    world.checks.take_turns(watched)
    assert set(due) == {"A", "B"}
