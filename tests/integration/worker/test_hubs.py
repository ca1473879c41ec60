"""Several hubs, some of which fail, lie, keep something back or live in the past. Channels come through all of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from devnet.lies import LIES
from shared.channels.model import Status
from shared.obyte.composing import Output
from shared.obyte.hub_client import HubClient
from shared.obyte.networks import LIVENET
from shared.store import ledger_pins, wallet_units
from shared.store.journal import UnitState
from tests.integration.worker.support import FAST, OWN_KEY, Cable, eventually
from worker.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.integration.worker.support import World

STRANGER = "I2ADHGP4HL6J37NQAD73J7E5SKFIXJOT"


def raised(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, dict[str, Any]]]:
    """Alarms that were raised, oldest first: kind, subject, facts."""
    said = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    return [(event["kind"], event["subject"], event) for event in said if event.get("event") == "alarm_raised"]


def lies(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """Hubs that were caught, and by which name."""
    return [(subject, facts["reason"]) for kind, subject, facts in raised(caplog) if kind == "hub_lies"]


def hubs_in_step(caplog: pytest.LogCaptureFixture) -> list[str]:
    said = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    return [event["hub"] for event in said if event.get("event") == "hub_in_step"]


def event_id(unit: dict[str, Any]) -> int:
    """Number of the event that an agent tells in a unit, 0 if it is none."""
    payloads = [message["payload"] for message in unit.get("messages", ()) if message["app"] == "data"]
    return int(payloads[0].get("event_id", 0)) if payloads else 0


async def is_open(world: World, peer: Any) -> None:
    await world.until(peer, lambda channel: channel.status is Status.OPEN, "open")


async def test_the_next_hub_serves_while_the_first_is_away_and_the_first_again_when_it_is_back(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    cable, other = Cable(world.devnet), await world.devnet.add_hub()
    await cable.mend()
    hubs = f"{cable.url},{other.url}"
    async with world.running(hub_url=hubs, pace=replace(FAST, hub=replace(FAST.hub, prefer_s=0.1))):
        peer = await world.peer()
        await world.open(peer)
        await cable.cut()
        await world.pay(peer, 5_000)
        peer.close(admits=5_000)
        await world.until(peer, lambda channel: channel.status is Status.CLOSED, "closed")
        assert hubs_in_step(caplog) == [cable.url, other.url]

        await cable.mend()

        async def is_back() -> bool:
            return hubs_in_step(caplog)[-1] == cable.url

        await eventually(is_back, "the preferred hub in use")
        peer.deposit(60_000)
        await is_open(world, peer)
    await cable.cut()
    assert world.triggers(peer, "confirm") == [entry.unit for entry in await world.journal(peer)]


PROVABLE_LIES = {
    "forged_ball": "wrong_ball",
    "forged_parent_ball": "wrong_ball",
    "serial_again": "wrong_ball",
    "forged_hash": "joint_invalid",
    "forged_amount": "joint_invalid",
    "forged_provider": "witness_signature_wrong",
    "forged_anchor": "witness_signature_wrong",
    "without_providers": "no_proof",
    "nonsense": "bad_response",
    "nothing": "hub_withholds",
    "without_balls": "hub_withholds",
}


@pytest.mark.parametrize("name", PROVABLE_LIES)
async def test_a_lie_is_named_and_another_hub_is_asked(
    world: World, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    honest = await world.devnet.add_hub()
    peer = await world.peer()
    async with world.running(hub_url=honest.url):
        await world.open(peer)
    world.devnet.faults.lie(*LIES[name], times=None)
    async with world.running(hub_url=f"{world.devnet.url},{honest.url}"):
        peer.deposit(40_000)
        await world.until(peer, lambda channel: channel.deposited_by_peer == 1_040_000, "at its second event")
    assert lies(caplog)[0] == (world.devnet.url, PROVABLE_LIES[name])
    assert [event.event_id for event in await world.events(peer)] == [1, 2]


@pytest.mark.parametrize("name", ["shuffled_units", "forged_responses", "without_responses", "invented_unit"])
async def test_what_cannot_be_proven_a_lie_does_no_harm(world: World, name: str) -> None:
    world.devnet.faults.lie(*LIES[name], times=None)
    async with world.running():
        peer = await world.peer()
        await world.open(peer)
        peer.deposit(40_000)
        channel = await world.until(peer, lambda channel: channel.last_event_id == 2, "at its second event")
        assert channel.deposited_by_peer == 1_040_000
        assert await world.units_of_peer(peer) == ()
        await world.pay(peer, 7_000)
        command = await world.until_done(await world.order_close(peer))
        assert command.error is None
    assert [entry.state for entry in await world.journal(peer)] != [UnitState.FAILED]


@pytest.mark.parametrize("name", ["rehashed_amount", "forged_agent_data"])
async def test_units_that_the_ledger_does_not_have_never_count(
    world: World, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    honest = await world.devnet.add_hub()
    peer = await world.peer()
    world.devnet.faults.lie(*LIES[name], times=20)
    async with world.running(hub_url=f"{world.devnet.url},{honest.url}"):
        await world.open(peer)
        peer.deposit(40_000)
        channel = await world.until(peer, lambda channel: channel.last_event_id == 2, "at its second event")
    assert channel.deposited_by_peer == 1_040_000
    assert [event.event_id for event in await world.events(peer)] == [1, 2]


async def test_a_hidden_response_is_a_gap_the_hub_is_named_and_another_one_tells_it(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    honest = await world.devnet.add_hub()
    peer = await world.peer()
    peer.deposit(300_000, publish=True)
    await world.devnet.stabilise()
    [hidden] = [record.hash for record in world.devnet.ledger.state.dag.records.values() if record.is_agent]
    peer.deposit(40_000)
    await world.devnet.stabilise()
    world.devnet.faults.hidden.add(hidden)
    async with world.running(hub_url=f"{world.devnet.url},{honest.url}"):
        channel = await world.until(peer, lambda channel: channel.last_event_id == 2, "at its second event")
    assert channel.deposited_by_peer == 340_000
    assert lies(caplog) == [(world.devnet.url, "hub_withholds")]


async def test_a_hidden_last_response_is_found_by_the_agents_state(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    honest = await world.devnet.add_hub()
    peer = await world.peer()
    async with world.running(hub_url=honest.url):
        await world.open(peer)
    peer.close(admits=0)
    await world.devnet.stabilise()
    *_, hidden = [record.hash for record in world.devnet.ledger.state.dag.records.values() if record.is_agent]
    world.devnet.faults.hidden.add(hidden)
    pace = replace(FAST, cross_checks=replace(FAST.cross_checks, patience_s=0.5))
    async with world.running(hub_url=f"{world.devnet.url},{honest.url}", pace=pace):
        await world.until(peer, lambda channel: channel.last_event_id == 3, "closed")
    assert lies(caplog) == [(world.devnet.url, "hub_withholds")]


async def test_what_one_hub_hides_of_everybody_another_one_tells(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    liar, honest = world.devnet.doors[0], await world.devnet.add_hub()

    def tell_first_event_only(history: dict[str, Any]) -> dict[str, Any]:
        joints = [joint for joint in history.get("joints", ()) if event_id(joint["unit"]) < 2]
        return history | {"joints": joints} if joints else {}

    liar.faults.lie("light/get_history", tell_first_event_only, times=None)
    liar.faults.lie(
        "light/get_aa_state_vars", lambda _: {"period": 1, "event_id": 2, "balanceB": 1_000_000}, times=None
    )
    pace = replace(FAST, hub=replace(FAST.hub, second_s=0.3), cross_checks=replace(FAST.cross_checks, patience_s=0.5))
    async with world.running(hub_url=f"{liar.url},{honest.url}", pace=pace):
        peer = await world.peer()
        await world.open(peer)
        peer.close(admits=0)
        await world.until(peer, lambda channel: channel.status is Status.CLOSED, "closed")

        async def is_named() -> bool:
            return (liar.url, "hub_withholds") in lies(caplog)

        await eventually(is_named, "the hub that hides events named")


async def test_an_old_proof_served_again_is_named_also_after_a_restart(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    liar, honest = world.devnet.doors[0], await world.devnet.add_hub()
    peer = await world.peer()
    recorded: list[dict[str, Any]] = []

    def record(answer: dict[str, Any]) -> dict[str, Any]:
        if answer:  # nothing to tell has no proof in it that could be old
            recorded.append(answer)
        return answer

    liar.faults.lie("light/get_history", record, times=None)
    async with world.running(hub_url=liar.url):
        await world.open(peer)
    world.devnet.skip_time(3)
    liar.faults.clear()

    recorded_before_s = world.devnet.ledger.now_s() - 1

    async def is_noted() -> bool:
        async with world.database.connection() as conn:
            return (await ledger_pins.read(conn)).time_s > recorded_before_s

    async with world.running(hub_url=honest.url):
        peer.deposit(40_000)
        await world.until(peer, lambda channel: channel.last_event_id == 2, "at its second event")
        # At the end of a round; before that, the hub is named for the event that it does not tell.
        await eventually(is_noted, "a later time on record")
    liar.faults.lie("light/get_history", lambda _: recorded[-1], times=None)
    async with world.running(hub_url=f"{liar.url},{honest.url}"):
        peer.deposit(50_000)
        await world.until(peer, lambda channel: channel.last_event_id == 3, "at its third event")
    assert lies(caplog) == [(liar.url, "stale_proof")]


class CutOff:
    """A hub that answers, but has no connection to the others: what it takes stays with it, nothing new comes in."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
        self._url = url
        self._records = world.devnet.ledger.state.dag.records
        self._before: set[str] | None = None
        self.taken: list[str] = []
        self._post, self._history, self._joint = HubClient.post_joint, HubClient.get_history, HubClient.get_joint
        for name, cut in {"post_joint": self._swallow, "get_history": self._tell, "get_joint": self._know}.items():
            monkeypatch.setattr(HubClient, name, _method(cut))

    def begin(self) -> None:
        self._before = set(self._records)

    async def _swallow(self, client: HubClient, joint: Any) -> None:
        if self._before is None or client.url != self._url:
            await self._post(client, joint)
        else:
            self.taken.append(joint["unit"]["unit"])

    async def _know(self, client: HubClient, unit: str) -> Any:
        is_unknown = self._before is not None and client.url == self._url and unit not in self._before
        return None if is_unknown else await self._joint(client, unit)

    async def _tell(self, client: HubClient, **asked: Any) -> Any:
        answer: Any = await self._history(client, **asked)
        if self._before is None or client.url != self._url:
            return answer
        joints = [joint for joint in answer.get("joints", ()) if joint["unit"]["unit"] in self._before]
        return answer | {"joints": joints} if joints else {}


def _method(bound: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Make what takes the client as its first argument a method of it."""

    def method(client: HubClient, *words: Any, **named: Any) -> Awaitable[Any]:
        return bound(client, *words, **named)

    return method


async def test_a_hub_that_is_cut_off_is_left_for_one_that_knows_more_and_what_it_swallowed_is_posted_there(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO")
    dead, honest = Cable(world.devnet), await world.devnet.add_hub()
    await dead.mend()
    await dead.cut()
    pace = replace(
        FAST,
        watcher=replace(FAST.watcher, everything_s=3_600),
        cross_checks=replace(FAST.cross_checks, patience_s=3_600),
        hub=replace(FAST.hub, second_s=0.2, lag_s=0.2, slack_s=3_600),
    )
    cut = CutOff(world, monkeypatch, world.devnet.url)
    async with world.running(hub_url=f"{dead.url},{world.devnet.url},{honest.url}", pace=pace):
        thief, closed_by_us = await world.peer(1), await world.peer(2)
        await world.open(thief)
        await world.open(closed_by_us)
        await world.pay(thief, 300_000)
        cut.begin()
        thief.close(admits=1_000)
        await world.order_close(closed_by_us)
        await world.until(thief, lambda channel: channel.status is Status.CLOSED, "closed")
        await world.until(closed_by_us, lambda channel: channel.status is Status.CLOSING_BY_ME, "closing")
        assert hubs_in_step(caplog)[:2] == [world.devnet.url, honest.url]
    for peer, kind in ((thief, "fraud_proof"), (closed_by_us, "close")):
        made = [entry for entry in await world.journal(peer) if entry.purpose == kind]
        units = [entry.unit for entry in made if entry.state is not UnitState.FAILED]
        assert world.triggers(peer, kind) == units
        assert len(units) == 1


async def test_what_a_hub_keeps_to_itself_is_posted_to_another_one_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = await world.devnet.add_hub()
    post = HubClient.post_joint
    swallowed: list[str] = []

    async def keep(client: HubClient, joint: Any) -> None:
        if client.url == honest.url:
            await post(client, joint)
        else:
            swallowed.append(joint["unit"]["unit"])

    async with world.running(
        hub_url=f"{world.devnet.url},{honest.url}", pace=replace(FAST, hub=replace(FAST.hub, second_s=0.2))
    ):
        peer = await world.peer()
        await world.open(peer)
        monkeypatch.setattr(HubClient, "post_joint", keep)
        await world.order_close(peer)
        await world.until(peer, lambda channel: channel.status is Status.CLOSING_BY_ME, "closing")
    assert world.triggers(peer, "close") == [swallowed[0]]


async def test_a_false_index_of_the_last_event_is_found_out_and_read_around(world: World) -> None:
    peer = await world.peer()
    async with world.running():
        await world.open(peer)
    conn = await asyncpg.connect(world.database_url)
    await conn.execute("UPDATE ledger_events SET mci = 1000000000")
    await conn.execute("UPDATE wallet_units SET mci = 1000000000 WHERE is_stable")
    await conn.close()
    async with world.running():
        peer.deposit(40_000)
        await world.until(peer, lambda channel: channel.last_event_id == 2, "at its second event")


async def test_channels_are_not_read_from_their_beginnings_at_every_connection(world: World) -> None:
    early, late = await world.peer(1), await world.peer(2)
    async with world.running():
        await world.open(early)
        await world.open(late)
    told: list[str] = []

    def listen(answer: dict[str, Any]) -> dict[str, Any]:
        told.extend(joint["unit"]["unit"] for joint in answer.get("joints", ()))
        return answer

    world.devnet.faults.lie("light/get_history", listen, times=None)
    async with world.running():
        late.deposit(40_000)
        await world.until(late, lambda channel: channel.last_event_id == 2, "at its second event")
    [opened] = await world.events(early)
    assert opened.unit in told
    assert opened.payload["trigger_unit"] not in told


async def test_order_providers_stay_pinned_and_a_vote_for_others_is_a_reason_for_alarm(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async with world.running():
        peer = await world.peer()
        await world.open(peer)
    world.devnet.faults.lie(*LIES["other_providers"], times=None)
    world.devnet.faults.claimed_vars["op_list"] = [STRANGER]
    async with world.running():
        await eventually(world.is_awake, "a whole round")
        peer.deposit(40_000)
        await world.until(peer, lambda channel: channel.last_event_id == 2, "at its second event")
    async with world.database.connection() as conn:
        pins = await ledger_pins.read(conn)
    assert pins.order_providers == world.devnet.witnesses
    assert pins.time_s > 0
    sources = {subject for kind, subject, _ in raised(caplog) if kind == "order_providers_differ"}
    assert sources == {world.devnet.url, f"{world.devnet.url} (votes)"}


async def test_order_providers_accepted_by_a_person_are_taken_up_without_a_restart(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async with world.running():
        peer = await world.peer()
        await world.open(peer)
        async with world.database.transaction() as conn:
            await ledger_pins.pin(conn, [STRANGER])

        async def is_noticed() -> bool:
            return ("order_providers_differ", world.devnet.url) in {alarm[:2] for alarm in raised(caplog)}

        await eventually(is_noticed, "a connection held against the new list")
        async with world.database.transaction() as conn:
            await ledger_pins.pin(conn, world.devnet.witnesses)
        peer.deposit(40_000)
        await world.until(peer, lambda channel: channel.last_event_id == 2, "at its second event")


async def test_order_providers_pinned_by_hand_hold(world: World) -> None:
    async with world.running(order_providers=world.devnet.witnesses):
        peer = await world.peer()
        await world.open(peer)
    for wrong in [(STRANGER[:-1] + "A",), ("x",)]:
        runtime = world.runtime(order_providers=wrong)
        with pytest.raises(ConfigurationError):
            await runtime.run()


async def test_on_a_public_network_a_list_by_hand_has_as_many_as_the_network(world: World) -> None:
    runtime = world.runtime(order_providers=world.devnet.witnesses, network=LIVENET)
    with pytest.raises(ConfigurationError):
        await runtime.run()


@pytest.mark.parametrize("wrong_by_s", [-400, -45, 45, 400])
async def test_a_clock_that_is_wrong_by_minutes_stops_neither_reading_nor_answering(
    world: World, caplog: pytest.LogCaptureFixture, wrong_by_s: int
) -> None:
    ledger = world.devnet.ledger
    async with world.running(clock=lambda: ledger.now_s() + wrong_by_s):
        peer = await world.peer()
        await world.open(peer)
        await world.pay(peer, 10_000)
        peer.close(admits=1_000)
        await world.until(peer, lambda channel: channel.status is Status.CLOSED, "closed")
    assert len(world.triggers(peer, "fraud_proof")) == 1
    [facts] = [facts for kind, _, facts in raised(caplog) if kind == "clock_differs"]
    assert facts["is_late"] is (wrong_by_s < 0)


async def test_a_hub_whose_clock_is_late_is_read_but_another_one_is_preferred(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    honest = await world.devnet.add_hub()
    world.devnet.faults.clock_offset_s = -200
    peer = await world.peer()
    async with world.running():
        await world.open(peer)
    async with world.running(hub_url=f"{world.devnet.url},{honest.url}"):
        command = await world.until_done(await world.order_close(peer))
    assert command.error is None
    assert lies(caplog) == [(world.devnet.url, "bad_answer")]


async def test_a_conflict_that_happened_while_nobody_listened_is_learned_on_the_next_read(world: World) -> None:
    world.devnet.pause()
    peer = await world.peer()
    async with world.running():
        before = peer.prospect()
        peer.deposit(60_000, publish=True)
        await world.until_units(peer, bool)
    peer.post([], instead_of=before)
    async with world.running():
        await world.until_units(peer, lambda units: not any(not unit.is_bad for unit in units))
        assert (await world.channel(peer)).deposited_by_peer == 0


async def test_a_coin_that_vanished_while_nobody_listened_is_counted_no_more(world: World) -> None:
    payer = await world.stranger()
    world.devnet.pause()

    async def units() -> list[Any]:
        async with world.database.connection() as conn:
            return [known for known in await wallet_units.unstable(conn) if known.sequence == "good"]

    before = payer.prospect()
    async with world.running():
        payer.post([Output(OWN_KEY.address, 123_456)])
        await eventually(units, "a coin on its way")
    payer.post([Output(payer.address, 1_000)], instead_of=before)
    async with world.running():

        async def is_gone() -> bool:
            return not await units()

        await eventually(is_gone, "no coin on its way")


async def test_a_vote_on_sizes_reaches_the_composer(world: World) -> None:
    async with world.running():
        peer = await world.peer()
        await world.open(peer)
        world.devnet.ledger.vote("threshold_size", 300)
        command = await world.until_done(await world.order_close(peer))
    assert command.error is None
