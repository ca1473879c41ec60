"""Opening channels: whatever breaks at whatever line, there is one deposit or none, and none after a failure.

The reference (R3) reports "no response", and when the late answer comes it creates and funds the channel all the same.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from shared.channels.model import Status
from shared.obyte.coins import CoinSet
from shared.obyte.errors import CompositionError
from shared.obyte.hub_client import HubClient
from sluice.payer import PayerOptions
from sluice.payer.book import ChannelBook
from sluice.payer.errors import ChannelOpeningError, LedgerError
from sluice.payer.peers import RetryPolicy
from sluice.payer.posting import UnitPoster
from tests.integration.payer.conftest import FUNDS, PAYER_ADDRESS
from tests.integration.payer.support import BOUND_S, Fault, eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.payer.conftest import World

IMPATIENT = PayerOptions(
    retry=RetryPolicy(attempts=1, first_pause_s=0.01, longest_pause_s=0.05, give_up_after_s=5),
    request_timeout_s=0.2,
    hub_timeout_s=5,
)


def deposits(world: World) -> list[str]:
    """Every unit of the payer on the ledger: nothing but deposits is expected."""
    dag = world.devnet.ledger.state.dag
    return [
        record.hash
        for record in dag.records.values()
        if [author["address"] for author in record.unit["authors"]] == [PAYER_ADDRESS]
    ]


async def test_the_peer_is_asked_as_the_protocol_says(world: World) -> None:
    async with world.payer() as payer:
        channel = await world.open_channel(payer, timeout_s=900, salt="abc")
        assert channel.state.timeout_s == 900
    request = json.loads(world.receiver.bodies[0])
    terms = {"address": payer.address, "timeout": 900, "asset": "base", "version": "1.1", "salt": "abc"}
    assert request["params"] == terms
    assert request["command"] == "create_channel"
    assert "timestamp" not in request
    assert "url" not in request


async def test_without_a_salt_every_channel_is_another_one(world: World) -> None:
    async with world.payer() as payer:
        first = await world.open_channel(payer)
        second = await world.open_channel(payer)
        assert first.aa_address != second.aa_address
        assert [channel.aa_address for channel in payer.channels()] == [first.aa_address, second.aa_address]
        assert len(json.loads(world.receiver.bodies[0])["params"]["salt"]) == 50


async def test_r03_a_late_answer_to_create_channel_funds_nothing(world: World) -> None:
    async with world.payer(options=IMPATIENT) as payer:
        await payer.wait_connected(BOUND_S)
        answer_now = asyncio.Event()
        world.receiver.faults.append(Fault(hold=answer_now))
        with pytest.raises(ChannelOpeningError) as failed:
            await payer.open_channel(world.receiver.url, 500_000)
        assert failed.value.code == "peer_unreachable"
        answer_now.set()
        await payer.balance()
        assert payer.channels() == ()
    async with world.payer() as payer:
        assert (await payer.balance()).total == FUNDS
    assert deposits(world) == []


async def test_r03_a_caller_who_gives_up_while_the_peer_is_asked_pays_nothing(world: World) -> None:
    async with world.payer() as payer:
        await payer.wait_connected(BOUND_S)
        answer_now = asyncio.Event()
        world.receiver.faults.append(Fault(hold=answer_now))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await payer.open_channel(world.receiver.url, 500_000)
        answer_now.set()
        assert (await payer.balance()).total == FUNDS
        assert payer.channels() == ()
    assert deposits(world) == []


async def test_r03_a_caller_who_gives_up_before_the_journal_pays_nothing(world: World) -> None:
    async with world.payer() as payer:
        await payer.wait_connected(BOUND_S)
        world.devnet.faults.delay_answer("light/get_parents_and_last_ball_and_witness_list_unit", 0.4)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await payer.open_channel(world.receiver.url, 500_000)
        await eventually(lambda: not payer._opener._poster._tasks)
        assert payer.channels() == ()
    assert deposits(world) == []


async def test_r03_a_late_answer_to_a_payment_changes_nothing(world: World) -> None:
    async with world.payer(options=IMPATIENT) as payer:
        channel = await world.open_channel(payer)
        answer_now = asyncio.Event()
        world.receiver.faults.append(Fault(hold=answer_now))
        with pytest.raises(Exception, match="may or may not have arrived") as uncertain:
            await channel.pay(700)
        answer_now.set()
        await eventually(lambda: world.receiver.total == 700)
        [waiting] = await payer.payments()
        assert waiting.state == "signed"
        receipt = await payer.resend(uncertain.value.payment_id)  # type: ignore[attr-defined]
        assert receipt.duplicate
        assert channel.state.spent_by_me == 700


@pytest.mark.parametrize(
    ("lie", "code"),
    [
        ("", "invalid_peer_answer"),
        ("X" * 32, "invalid_peer_answer"),
        (PAYER_ADDRESS, "invalid_peer_answer"),
        ("4LLSURBMWBLF5S6X6NGZZPGK5NZT62V6", "invalid_peer_answer"),
    ],
    ids=["nothing", "no address", "our own", "another's"],
)
async def test_a_peer_that_lies_about_itself_gets_nothing(world: World, lie: str, code: str) -> None:
    world.receiver.refusals.append({"response": {"address_a": lie, "aa_address": "A" * 32}})
    async with world.payer() as payer:
        with pytest.raises(ChannelOpeningError) as failed:
            await payer.open_channel(world.receiver.url, 500_000)
        assert failed.value.code == code
        assert payer.channels() == ()


async def test_a_peer_that_refuses_gets_nothing(world: World) -> None:
    world.receiver.refusals.append({"error": "Channel timeout is too low"})
    async with world.payer() as payer:
        with pytest.raises(ChannelOpeningError, match="too low") as failed:
            await payer.open_channel(world.receiver.url, 500_000)
        assert failed.value.code == "peer_refused"


@pytest.mark.parametrize(
    ("url", "deposit", "terms", "code"),
    [
        ("ftp://x/", 500_000, {}, "invalid_url"),
        ("http://x/?q", 500_000, {}, "invalid_url"),
        ("http://[", 500_000, {}, "invalid_url"),
        ("http://x/", 10_000, {}, "invalid_deposit"),
        ("http://x/", True, {}, "invalid_deposit"),
        ("http://x/", 500_000, {"asset": "gold"}, "invalid_asset"),
        ("http://x/", 500_000, {"timeout_s": 0}, "invalid_timeout"),
        ("http://x/", 500_000, {"timeout_s": 2**40}, "invalid_timeout"),
        ("http://x/", 500_000, {"salt": ""}, "invalid_salt"),
        ("http://x/", 500_000, {"salt": "x" * 51}, "invalid_salt"),
    ],
)
async def test_senseless_terms_are_refused_before_anybody_is_asked(
    world: World, url: str, deposit: int, terms: dict[str, Any], code: str
) -> None:
    async with world.payer(hub_url=None) as payer:
        with pytest.raises(ChannelOpeningError) as failed:
            await payer.open_channel(url, deposit, **terms)
        assert failed.value.code == code


async def test_more_than_the_wallet_has_cannot_be_deposited(world: World) -> None:
    async with world.payer() as payer:
        with pytest.raises(CompositionError) as failed:
            await payer.open_channel(world.receiver.url, FUNDS)
        assert failed.value.code == "not_enough_funds"
        assert payer.channels() == ()


async def test_without_a_hub_nothing_is_funded(world: World) -> None:
    async with world.payer(hub_url="ws://127.0.0.1:1", options=PayerOptions(hub_timeout_s=0.1)) as payer:
        with pytest.raises(LedgerError) as failed:
            await payer.open_channel(world.receiver.url, 500_000)
        assert failed.value.code == "not_connected"
        assert payer.channels() == ()


async def test_a_hub_that_is_away_is_replaced_by_the_next_one(world: World) -> None:
    async with world.payer(hub_url=f"ws://127.0.0.1:1,{world.devnet.url}") as payer:
        channel = await payer.open_channel(world.receiver.url, 500_000)
        assert (await channel.wait_open(BOUND_S)).deposited_by_me == 500_000


async def test_the_same_salt_never_opens_a_second_channel(world: World) -> None:
    async with world.payer() as payer:
        first, second = await asyncio.gather(
            payer.open_channel(world.receiver.url, 500_000, salt="s"),
            payer.open_channel(world.receiver.url, 500_000, salt="s"),
        )
        await first.wait_open(BOUND_S)
        third = await payer.open_channel(world.receiver.url + "/", 500_000, salt="s")
        assert first.aa_address == second.aa_address == third.aa_address
        with pytest.raises(ChannelOpeningError) as failed:
            await payer.open_channel(world.receiver.url, 500_000, salt="s", timeout_s=900)
        assert failed.value.code == "salt_in_use"
    assert len(deposits(world)) == 1


@pytest.mark.parametrize("fault", ["lose_answer", "drop_connection_after"])
async def test_a_deposit_whose_acceptance_was_not_heard_is_posted_once(world: World, fault: str) -> None:
    async with world.payer(options=PayerOptions(hub_timeout_s=0.5)) as payer:
        await payer.wait_connected(BOUND_S)
        getattr(world.devnet.faults, fault)("post_joint")
        channel = await payer.open_channel(world.receiver.url, 500_000)
        assert (await channel.wait_open(BOUND_S)).deposited_by_me == 500_000
    assert len(deposits(world)) == 1


async def test_a_deposit_that_no_longer_fits_is_replaced_by_one_of_the_same_coins(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = UnitPoster._replace

    async def replace_a_second_later(*args: Any, **named: Any) -> Any:
        world.devnet.skip_time(1)
        return await replace(*args, **named)

    monkeypatch.setattr(UnitPoster, "_replace", replace_a_second_later)
    async with world.payer() as payer:
        await payer.wait_connected(BOUND_S)
        world.devnet.faults.refuse("post_joint", "last ball just advanced, try again")
        world.devnet.faults.refuse("post_joint", "unknown parents")
        channel = await payer.open_channel(world.receiver.url, 500_000)
        await channel.wait_open(BOUND_S)
        journal = await payer._settler._store.run(_journal_of(channel.aa_address))
    assert [entry.state for entry in journal] == ["replaced", "replaced", "done"]
    spent = [_inputs(entry.content) for entry in journal]
    assert spent[0] == spent[1] == spent[2]
    assert deposits(world) == [journal[-1].unit]


async def test_a_definition_that_the_hub_knows_before_we_do_is_left_out_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.payer() as payer:
        channel = await world.open_channel(payer)
        monkeypatch.setattr(CoinSet, "definition_disclosed", lambda *_: False)  # as while a history is on its way
        await channel.deposit(50_000)
        journal = await payer._settler._store.run(_journal_of(channel.aa_address))
    assert [entry.state for entry in journal] == ["done", "replaced", "posted"]


async def test_a_deposit_refused_for_the_moment_is_posted_again(world: World) -> None:
    async with world.payer() as payer:
        await payer.wait_connected(BOUND_S)
        world.devnet.faults.refuse("post_joint", "unknown parents")
        channel = await payer.open_channel(world.receiver.url, 500_000)
        await channel.wait_open(BOUND_S)
    assert len(deposits(world)) == 1


async def test_a_deposit_that_the_hub_has_not_taken_yet_goes_before_the_next(world: World) -> None:
    async with world.payer() as payer:
        await payer.wait_connected(BOUND_S)
        world.devnet.faults.refuse("post_joint", "already handling this unit")
        first = await payer.open_channel(world.receiver.url, 500_000)
        second = await payer.open_channel(world.receiver.url, 600_000)
        assert len(deposits(world)) == 2
        assert (await first.wait_open(BOUND_S)).deposited_by_me == 500_000
        assert (await second.wait_open(BOUND_S)).deposited_by_me == 600_000


async def test_a_deposit_refused_for_good_is_a_failure_and_never_posted_again(world: World) -> None:
    async with world.payer() as payer:
        await payer.wait_connected(BOUND_S)
        world.devnet.faults.refuse("post_joint", "some rule is broken")
        with pytest.raises(ChannelOpeningError) as failed:
            await payer.open_channel(world.receiver.url, 500_000, salt="s")
        assert failed.value.code == "funding_refused"
        assert (await payer.balance()).total == FUNDS
    async with world.payer() as payer:
        await payer.wait_connected(BOUND_S)
        assert deposits(world) == []
        channel = await payer.open_channel(world.receiver.url, 500_000, salt="s")
        await channel.wait_open(BOUND_S)
    assert len(deposits(world)) == 1


@dataclass(frozen=True)
class Line:
    """Where the process ends: before a method does its work, or after it."""

    owner: type
    name: str
    after: bool
    is_funded: bool


def _crash_at(monkeypatch: pytest.MonkeyPatch, line: Line) -> asyncio.Event:
    """Make one call of a method the last thing that happens."""
    original: Callable[..., Any] = getattr(line.owner, line.name)
    crashed = asyncio.Event()

    async def method(*args: Any, **named: Any) -> Any:
        if line.after:
            await original(*args, **named)
        crashed.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(line.owner, line.name, method)
    return crashed


@pytest.mark.parametrize(
    "line",
    [
        Line(UnitPoster, "_compose", after=False, is_funded=False),
        Line(UnitPoster, "_compose", after=True, is_funded=False),
        Line(ChannelBook, "add", after=False, is_funded=False),
        Line(ChannelBook, "add", after=True, is_funded=True),
        Line(UnitPoster, "_post", after=False, is_funded=True),
        Line(HubClient, "post_joint", after=False, is_funded=True),
        Line(HubClient, "post_joint", after=True, is_funded=True),
        Line(UnitPoster, "_posted", after=False, is_funded=True),
        Line(UnitPoster, "_posted", after=True, is_funded=True),
    ],
    ids=lambda line: f"{'after' if line.after else 'before'} {line.name}",
)
async def test_after_a_crash_at_any_line_there_is_one_deposit_or_none(
    world: World, monkeypatch: pytest.MonkeyPatch, line: Line
) -> None:
    async with world.payer() as payer:
        await payer.wait_connected(BOUND_S)
        with monkeypatch.context() as patched:
            crashed = _crash_at(patched, line)
            opening = asyncio.create_task(payer.open_channel(world.receiver.url, 500_000, salt="s"))
            async with asyncio.timeout(BOUND_S):
                await crashed.wait()
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)
            await payer._opener._poster.close()
    async with world.payer() as payer:
        assert len(payer.channels()) == line.is_funded
        if line.is_funded:
            [channel] = payer.channels()
            assert (await channel.wait_open(BOUND_S)).deposited_by_me == 500_000
            again = await payer.open_channel(world.receiver.url, 500_000, salt="s")
            assert again.aa_address == channel.aa_address
        await payer.balance()
    assert len(deposits(world)) == line.is_funded


async def test_channels_are_there_again_after_a_restart(world: World) -> None:
    async with world.payer() as payer:
        channel = await world.open_channel(payer)
        await channel.pay(700)
        before = channel.state
    async with world.payer(hub_url=None) as payer:
        assert payer.state(channel.aa_address) == before
        assert before.status is Status.OPEN


def _journal_of(aa_address: str) -> Callable[..., Any]:
    from sluice.payer import store as payer_store  # noqa: PLC0415

    return lambda connection: payer_store.journal(connection, aa_address)


def _inputs(unit: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        item for message in unit["messages"] if message["app"] == "payment" for item in message["payload"]["inputs"]
    ]
