from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from shared.obyte.errors import HistoryProofError
from shared.obyte.hub_errors import HubAnswerError, HubClosedError
from tests.unit.worker.hub_fakes import OTHER, OWN, PROVIDER, SYSTEM_VARIABLES, THIRD, Client, SessionWorld, unreachable
from worker.errors import WithholdingHubError
from worker.session_pace import SessionPace
from worker.watcher import WatcherPace

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

A, B, C = "ws://a", "ws://b", "ws://c"


class Enough(Exception):  # noqa: N818 - the end of a test, not an error
    pass


async def run(world: SessionWorld, follow: Callable[[Any], Awaitable[None]]) -> None:
    with pytest.raises(Enough):
        await asyncio.wait_for(world.session.run(follow), 5)


def fails(*errors: Exception) -> tuple[list[str], Callable[[Any], Awaitable[None]]]:
    """Follow connections that end of these errors, one after the other; returns also the hubs followed."""
    followed: list[str] = []
    waiting = list(errors)

    async def follow(client: Any) -> None:
        followed.append(client.url)
        raise waiting.pop(0)

    return followed, follow


async def test_it_connects_again_after_every_hub_error_and_closes_what_it_leaves() -> None:
    clients = [Client(A, unreachable()), Client(A), Client(A), Client(A)]
    world = SessionWorld({A: clients.copy()})
    followed, follow = fails(HubClosedError("hub_silent", "…"), HistoryProofError("no_proof", "…"), Enough())
    await run(world, follow)
    assert followed == [A, A, A]
    assert not any(client.is_open for client in clients)


async def test_the_connection_is_for_use_only_while_it_is_in_step() -> None:
    world = SessionWorld({A: [Client(A), Client(A)]})
    seen = []

    async def follow(client: Any) -> None:
        with pytest.raises(HubClosedError, match="not in step"):
            _ = world.session.client
        world.session.in_step(client)
        assert world.session.client is client
        seen.append(client)
        raise Enough if len(seen) == 2 else HubClosedError("closed_by_hub", "…")

    await run(world, follow)
    with pytest.raises(HubClosedError):
        _ = world.session.client


@pytest.mark.parametrize(
    "error",
    [
        HubClosedError("hub_silent", "…"),
        HubAnswerError("get_joint", "…"),
        HistoryProofError("wrong_ball", "…"),
        WithholdingHubError("…"),
    ],
)
async def test_after_any_failure_the_next_hub_is_asked_at_once(error: Exception) -> None:
    world = SessionWorld({A: [Client(A)], B: [Client(B)], C: [Client(C)]})
    followed, follow = fails(error, HubClosedError("hub_silent", "…"), Enough())
    await run(world, follow)
    assert followed == [A, B, C]


async def test_it_pauses_only_when_all_hubs_have_failed() -> None:
    world = SessionWorld({A: [Client(A, unreachable())], B: [Client(B, unreachable()), Client(B)]})
    followed, follow = fails(Enough())
    await run(world, follow)
    assert world.made == [A, B, A, B]
    assert followed == [B]


async def test_a_hub_that_lied_is_named_and_comes_last_for_a_while() -> None:
    world = SessionWorld({A: [Client(A)], B: [Client(B)]}, set_aside_s=100)
    followed, follow = fails(
        HistoryProofError("wrong_ball", "a ball is wrong"),
        HubClosedError("hub_silent", "…"),
        HubClosedError("hub_silent", "…"),
        Enough(),
    )
    await run(world, follow)
    assert followed == [A, B, B, A]  # everybody failed; then the one that was only silent comes first
    assert world.alarms.standing["hub_lies", A] == {"reason": "wrong_ball", "detail": "a ball is wrong"}
    world.time.pass_by(100)
    followed, follow = fails(Enough())
    await run(world, follow)
    assert followed == [A]


async def test_the_alarm_about_a_liar_ends_when_it_serves_again() -> None:
    world = SessionWorld({A: [Client(A)]})

    async def follow(client: Any) -> None:
        if not world.alarms.raised:
            raise WithholdingHubError("…")
        world.session.in_step(client)
        raise Enough

    await run(world, follow)
    assert world.alarms.raised == [("hub_lies", A)]
    assert not world.alarms.standing


async def test_a_hub_that_requires_an_upgrade_is_left_to_the_operator() -> None:
    world = SessionWorld({A: [Client(A, HubClosedError("upgrade_required", "…"))], B: [Client(B)]})
    followed, follow = fails(HubClosedError("hub_silent", "…"), HubClosedError("hub_silent", "…"), Enough())
    await run(world, follow)
    assert followed == [B, B, B]
    assert ("hub_upgrade_required", A) in world.alarms.standing
    assert world.choice.better_than(B) == ()


async def test_a_preferred_hub_that_is_back_is_used_from_the_end_of_the_round() -> None:
    world = SessionWorld(
        {A: [Client(A, unreachable()), Client(A, unreachable()), Client(A)], B: [Client(B)]}, prefer_s=0.01
    )
    followed = []

    async def follow(client: Any) -> None:
        followed.append(client.url)
        while True:
            world.session.in_step(client)
            if client.url == A:
                raise Enough
            await asyncio.sleep(0.005)

    await run(world, follow)
    assert followed == [B, A]
    assert world.made == [A, B, A, A]
    assert not world.alarms.raised


async def test_nothing_is_left_open_when_the_session_ends_before_a_better_hub_was_used() -> None:
    better = Client(A)
    world = SessionWorld({A: [Client(A, unreachable()), better], B: [Client(B)]}, prefer_s=0.001)

    async def follow(_: Any) -> None:
        await better.opened.wait()
        await asyncio.sleep(0)
        raise Enough

    await run(world, follow)
    assert not better.is_open


async def test_the_first_list_of_order_providers_is_pinned_and_other_hubs_are_asked_too() -> None:
    disagreeing = Client(B)
    disagreeing.witnesses = (OTHER,)
    world = SessionWorld({A: [Client(A)], B: [disagreeing], C: [Client(C, unreachable())]}, pinned=())
    with pytest.raises(HubClosedError):
        _ = world.session.order_providers
    _, follow = fails(Enough())
    await run(world, follow)
    assert world.session.order_providers == (PROVIDER,)
    assert world.alarms.standing["order_providers_differ", B] == {"pinned_only": PROVIDER, "named_only": OTHER}
    assert not disagreeing.is_open


@pytest.mark.parametrize(
    ("pinned", "named", "is_alarming"),
    [
        ((PROVIDER,), (OTHER,), True),
        ((PROVIDER, OTHER, THIRD), (PROVIDER, OTHER, OWN), False),
        ((PROVIDER, OTHER, THIRD), (PROVIDER, OWN, "S" * 32), True),
        ((PROVIDER, OTHER, THIRD), (PROVIDER,), True),
    ],
)
async def test_more_than_one_other_order_provider_is_a_reason_for_alarm_and_never_for_a_switch(
    pinned: tuple[str, ...], named: tuple[str, ...], *, is_alarming: bool
) -> None:
    hub = Client(A)
    hub.witnesses = named
    world = SessionWorld({A: [hub]}, pinned=pinned)
    _, follow = fails(Enough())
    await run(world, follow)
    assert world.session.order_providers == pinned
    assert (("order_providers_differ", A) in world.alarms.standing) is is_alarming


async def test_votes_for_others_are_a_reason_for_alarm_and_used_for_new_units_only() -> None:
    world = SessionWorld({A: [Client(A)]}, pinned=(OTHER,))
    _, follow = fails(Enough())
    await run(world, follow)
    assert ("order_providers_differ", f"{A} (votes)") in world.alarms.standing
    assert (world.session.order_providers, world.session.op_list) == ((OTHER,), (PROVIDER,))


async def test_system_variables_are_followed() -> None:
    world = SessionWorld({A: [Client(A)]})
    assert (world.session.threshold_size(), world.session.op_list) == (10_000, (PROVIDER,))
    _, follow = fails(Enough())
    await run(world, follow)
    assert [world.session.threshold_size(mci) for mci in (50, 51, None)] == [10_000, 20_000, 20_000]
    world.session.told_system_variables(A, SYSTEM_VARIABLES | {"threshold_size": [{"vote_count_mci": -1, "value": 7}]})
    assert world.session.threshold_size() == 7
    with pytest.raises(HubAnswerError):
        world.session.told_system_variables(A, {"threshold_size": 1})


async def test_being_out_of_step_for_long_is_a_reason_for_alarm() -> None:
    world = SessionWorld({A: [Client(A)]}, away_s=0.01)
    silence = asyncio.create_task(world.session.watch_silence())
    await asyncio.sleep(0)
    assert not world.alarms.raised
    world.time.pass_by(60)
    await asyncio.sleep(0.05)
    silence.cancel()
    assert world.alarms.standing == {("hub_away", ""): {"hubs": A}}
    client: Any = Client(A)
    world.session.in_step(client)
    assert not world.alarms.standing


async def test_another_hub_is_asked_now_and_then_and_what_it_does_wrong_is_not_held_against_this_one() -> None:
    world = SessionWorld({A: [Client(A)], B: [Client(B)], C: [Client(C, unreachable())]}, second_s=100, set_aside_s=100)
    here: Any = Client(A)
    asked: list[str] = []

    async def work(other: Any) -> tuple[str, ...]:
        assert other.is_open
        asked.append(other.url)
        if len(asked) == 2:
            raise HistoryProofError("wrong_ball", "…")
        return ()

    for _ in range(7):
        await world.session.ask_another(here, work)
        await world.session.ask_another(here, work)
        world.time.pass_by(60)
    assert world.made == [B, C, B, C, B]  # the liar again, where nobody else answers
    assert asked == [B, B, B]
    assert not any(client.is_open for clients in world.clients.values() for client in clients)
    assert list(world.alarms.standing) == [("hub_lies", B)]


async def test_with_one_hub_nobody_else_is_asked() -> None:
    world = SessionWorld({A: [Client(A)]}, second_s=0)
    here: Any = Client(A)
    await world.session.ask_another(here, lambda _: pytest.fail("there is no other"))
    assert world.made == []


def following(world: SessionWorld, *, is_told_late: bool = False) -> tuple[list[str], Callable[[Any], Awaitable[None]]]:
    """Follow connections by rounds of 10 s, in which others than the first tell of a unit; ends with the second.

    `is_told_late`: the hub in use knows the unit two rounds later, and the test ends after some more.
    """
    followed: list[str] = []

    async def follow(client: Any) -> None:
        followed.append(client.url)
        if len(followed) == 2:
            raise Enough
        for number in range(10):
            if is_told_late and number == 3:
                client.known.add("unit")
            await world.session.ask_another(client, tell)
            world.session.in_step(client)
            world.time.pass_by(10)
        raise Enough

    async def tell(_: Any) -> set[str]:
        return {"unit"}

    return followed, follow


async def test_a_hub_that_lacks_what_another_one_proves_is_left_for_that_one() -> None:
    world = SessionWorld({A: [Client(A, unreachable())], B: [Client(B)], C: [Client(C)]}, second_s=10, lag_s=20)
    followed, follow = following(world)
    await run(world, follow)
    assert followed == [B, C]
    assert world.made[-2:] == [C, C]  # the dead one is not tried again in between
    assert ("hub_lies", B) not in world.alarms.raised  # it may be cut off as well as lying


async def test_a_hub_that_only_lags_behind_another_one_is_not_left() -> None:
    world = SessionWorld({A: [Client(A)], B: [Client(B)]}, second_s=10, lag_s=30)
    followed, follow = following(world, is_told_late=True)
    await run(world, follow)
    assert followed == [A]


async def test_a_dead_hub_does_not_use_up_the_turn_of_another_one() -> None:
    world = SessionWorld({A: [Client(A)], B: [Client(B, unreachable())], C: [Client(C)]}, second_s=10)
    here: Any = Client(A)
    asked: list[str] = []

    async def work(other: Any) -> tuple[str, ...]:
        asked.append(other.url)
        return ()

    for _ in range(4):
        world.time.pass_by(10)
        await world.session.ask_another(here, work)
    assert asked == [C, C, C, C]


@pytest.mark.parametrize(
    ("shortest_s", "second_s", "idle_s"), [(800, 800 / 6, 3), (3_600, 300, 3), (20, 20 / 6, 0.625)]
)
def test_the_pace_follows_the_shortest_timeout_of_a_channel(shortest_s: int, second_s: float, idle_s: float) -> None:
    hub = SessionPace.for_channels(shortest_s, max_silence_s=shortest_s / 4)
    watcher = WatcherPace.for_channels(shortest_s, max_silence_s=shortest_s / 4)
    assert (hub.second_s, watcher.idle_s) == (second_s, idle_s)
    assert hub.second_s + hub.lag_s < shortest_s / 4
    assert watcher.idle_s * 3 < hub.away_s < shortest_s / 4


async def test_a_hub_whose_clock_is_far_ahead_is_left_when_there_is_another_one() -> None:
    fast = Client(A)
    fast.time_s += 301
    world = SessionWorld({A: [fast], B: [Client(B)]})
    followed, follow = fails(Enough())
    await run(world, follow)
    assert followed == [B]
    assert world.choice.better_than(B) == ()
    assert not world.alarms.raised


async def test_a_hub_whose_clock_is_far_ahead_is_better_than_none() -> None:
    fast = Client(A)
    fast.time_s += 301
    world = SessionWorld({A: [fast]})
    followed, follow = fails(Enough())
    await run(world, follow)
    assert followed == [A]


async def test_hubs_that_agree_on_the_time_are_not_left_for_our_own_late_clock() -> None:
    hubs = {url: [Client(url)] for url in (A, B, C)}
    for [hub] in hubs.values():
        hub.time_s += 400
    world = SessionWorld(hubs)
    followed, follow = fails(Enough())
    await run(world, follow)
    assert followed == [B]
    followed, follow = fails(HubClosedError("hub_silent", "…"), Enough())
    await run(world, follow)
    assert followed == [B, C]
