from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from shared.agent.packages import PaymentSigner
from shared.channels.model import Channel, Status
from shared.channels.paying import create_payment
from shared.interledger.btp.frames import ContentType, Entry
from shared.interledger.btp.refusals import CODES
from shared.interledger.btp_plugin import Surroundings
from shared.interledger.channel_plugin.accounting import Accounting
from shared.interledger.channel_plugin.turns import Turns
from shared.interledger.claims import PayeeInfo, claim_entries, read_claim
from shared.interledger.packets import Fulfill, Prepare, Reject, condition_of, decode_packet, encode_packet
from shared.interledger.plugin.errors import (
    BtpError,
    InvalidFieldsError,
    InvalidServicesError,
    MoneyNotSentError,
    NotAcceptedError,
    UnreachableError,
)
from shared.obyte.keys import KeyPair
from shared.obyte.networks import network_named
from sluice.interledger import AcceptedBy, ChannelPays, ChannelPlugin, ChannelTakes, ClaimBook

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

    from shared.interledger.channel_plugin import Credit
    from shared.interledger.claims import Claim

NETWORK = network_named("devnet")
PAYER, PAYEE, OTHER, AGENT, UNKNOWN = (KeyPair(bytes([number]) * 32) for number in range(1, 6))
AA = AGENT.address
DEPOSIT = 1_000
OURS = Channel(AA, PAYER.address, PAYEE.address, "base", 3_600, status=Status.OPEN, period=1, deposited_by_me=DEPOSIT)
THEIRS = Channel(
    AA, PAYEE.address, PAYER.address, "base", 3_600, status=Status.OPEN, period=1, deposited_by_peer=DEPOSIT
)
INFO = PayeeInfo("base", 9, 3_600, PAYEE.address, "1.1")
SECRET = "shh"


def claim_of(
    amount_spent: int, *, key: KeyPair = PAYER, aa_address: str = AA, period: int = 1, payment_amount: int = 1
) -> dict[str, Any]:
    """A package that says so, whatever the channel holds."""
    channel = replace(OURS, aa_address=aa_address, own_address=key.address, period=period, deposited_by_me=10**9)
    order = create_payment(replace(channel, spent_by_me=amount_spent - payment_amount), payment_amount)
    package: dict[str, Any] = json.loads(PaymentSigner(key, NETWORK).sign(order).package)
    return package


class Host:
    """Who is told of money; the first `failures` times it fails."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.told: list[tuple[int, Mapping[str, Any]]] = []
        self.news = asyncio.Event()

    async def take(self, amount: int, info: Mapping[str, Any]) -> None:
        if self.failures:
            self.failures -= 1
            raise RuntimeError
        self.told.append((amount, info))
        self.news.set()

    @property
    def amounts(self) -> list[int]:
        return [amount for amount, _ in self.told]


@dataclass
class World:
    """A payee that listens and a payer that dials it, each with a book on the disk."""

    payee: ChannelPlugin
    payer: ChannelPlugin
    host: Host
    taken: ClaimBook
    signed: ClaimBook
    takes: ChannelTakes
    channels: dict[str, Channel]

    async def show(self, package: Mapping[str, Any], declared: int = 1) -> None:
        """Send a claim that nobody of ours has made."""
        await self.payer._pay(declared, claim_entries(package))

    async def again(self) -> None:
        """Connect again."""
        await self.payer.disconnect()
        await self.payer.connect()


@asynccontextmanager
async def world(
    tmp_path: Path,
    *,
    host: Host | None = None,
    payer_opts: Mapping[str, Any] | None = None,
    payee_opts: Mapping[str, Any] | None = None,
    takes_by: Callable[[ChannelTakes], Any] = lambda takes: takes,
    sleep: Callable[[float], Any] = asyncio.sleep,
) -> AsyncIterator[World]:
    host = host or Host()
    channels = {AA: THEIRS}

    async def channel_of(aa_address: str) -> Channel | None:
        return channels.get(aa_address)

    async with ClaimBook(tmp_path / "taken.db") as taken, ClaimBook(tmp_path / "signed.db") as signed:
        takes = ChannelTakes(taken, NETWORK, channel_of, payee=INFO)
        payee = ChannelPlugin(
            {"listener": {"port": 0, "secret": SECRET}, "waitForPeer": False, **(payee_opts or {})},
            takes=takes_by(takes),
            surroundings=Surroundings(sleep=sleep),
        )
        payee.register_money_handler(host.take)
        await payee.connect()
        payer = ChannelPlugin(
            {"server": f"btp+ws://:{SECRET}@127.0.0.1:{payee.port}", **(payer_opts or {})},
            pays=ChannelPays(signed, PaymentSigner(PAYER, NETWORK), lambda: OURS),
        )
        await payer.connect()
        try:
            yield World(payee, payer, host, taken, signed, takes, channels)
        finally:
            await payer.disconnect()
            await payee.disconnect()


# Paying


async def test_signed_claims_are_credited_by_what_they_add_however_many_at_once(tmp_path: Path) -> None:
    async with world(tmp_path) as its:
        await asyncio.gather(*(its.payer.send_money(number) for number in range(1, 21)))
        assert sum(its.host.amounts) == 210  # CLM-2, LPI-23: some may have overtaken others
        assert await its.taken.taken(AA, 1) == 210
        await its.payer.sendMoney("5")  # type: ignore[attr-defined]
        amount, info = its.host.told[-1]
        assert amount == 5
        assert (info["aa_address"], info["period"], info["amount_spent"]) == (AA, 1, 215)
        assert await its.taken.untold() == ()


async def test_claims_of_one_channel_are_applied_one_at_a_time(tmp_path: Path) -> None:
    at_once: list[int] = []

    class Slow(Refusing):
        now = 0

        async def accept(self, claim: Claim) -> Credit:
            self.now += 1
            at_once.append(self.now)
            credit = await self._takes.accept(claim)
            self.now -= 1
            return credit

    async with world(tmp_path, takes_by=Slow) as its:
        await asyncio.gather(*(its.payer.send_money(1) for _ in range(5)))
        assert at_once == [1] * 5  # LPI-23


async def test_an_ending_waits_for_a_claim_that_is_being_committed(tmp_path: Path) -> None:
    begun, going_on = asyncio.Event(), asyncio.Event()

    class Slow(Refusing):
        async def accept(self, claim: Claim) -> Credit:
            begun.set()
            await going_on.wait()
            return await self._takes.accept(claim)

    async with world(tmp_path, takes_by=Slow) as its:
        paying = asyncio.create_task(its.payer.send_money(5))
        await begun.wait()
        ending = asyncio.create_task(its.payee.disconnect())
        for _ in range(3):
            await asyncio.sleep(0)
        going_on.set()
        await ending
        assert its.host.amounts == [5]
        await paying  # LPI-27


async def test_more_than_the_channel_holds_is_not_signed(tmp_path: Path) -> None:
    async with world(tmp_path) as its:
        with pytest.raises(MoneyNotSentError):
            await its.payer.send_money(DEPOSIT + 1)
        await its.payer.send_money(DEPOSIT)
        with pytest.raises(MoneyNotSentError):
            await its.payee.send_money(1)  # nobody signs there
        assert its.host.amounts == [DEPOSIT]


def test_a_plugin_without_signer_and_taker_is_refused() -> None:
    with pytest.raises(InvalidServicesError):  # LPI-15
        ChannelPlugin({})


async def test_the_amount_of_a_transfer_is_not_believed(tmp_path: Path) -> None:
    async with world(tmp_path) as its:
        await its.show(claim_of(5), declared=500)
        await its.show(claim_of(9), declared=1)
        await its.show(claim_of(11, payment_amount=11))
        assert its.host.amounts == [5, 4, 2]  # BTP-21, CLM-2


async def test_a_claim_that_is_no_higher_succeeds_and_adds_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as its:
        for amount_spent in (9, 9, 5):
            await its.show(claim_of(amount_spent))
        assert its.host.amounts == [9]  # CLM-3
        with pytest.raises(BtpError) as refused:
            await its.show(claim_of(5, key=OTHER))
        assert refused.value.code == "F00"


def _tampered() -> dict[str, Any]:
    package = claim_of(5)
    package["signed_message"]["amount_spent"] = 6
    return package


@pytest.mark.parametrize(
    ("package", "channel", "name"),
    [
        (claim_of(5, key=OTHER), THEIRS, "NotAcceptedError"),
        (_tampered(), THEIRS, "NotAcceptedError"),
        (claim_of(5, aa_address=UNKNOWN.address), THEIRS, "TransferNotFoundError"),
        (claim_of(DEPOSIT + 1), THEIRS, "InsufficientBalanceError"),
        (claim_of(5), replace(THEIRS, status=Status.CLOSING_BY_ME), "AlreadyRolledBackError"),
        (claim_of(5), replace(THEIRS, period_closed_by_me=1), "AlreadyRolledBackError"),
        (claim_of(5), replace(THEIRS, period=2), "AlreadyRolledBackError"),
        (claim_of(5, period=2), THEIRS, "UnreachableError"),
        (claim_of(5), replace(THEIRS, status=Status.CLOSED, period=0), "UnreachableError"),
        (claim_of(5), replace(THEIRS, unsure_period=1), "NotAcceptedError"),
    ],
)
async def test_a_claim_that_is_no_money_is_refused_by_name_and_nothing_changes(
    tmp_path: Path, package: dict[str, Any], channel: Channel, name: str
) -> None:
    async with world(tmp_path) as its:
        its.channels[AA] = channel
        with pytest.raises(BtpError) as refused:
            await its.show(package)
        assert (refused.value.name, refused.value.code) == (name, CODES[name])
        assert its.host.told == []
        assert await its.taken.newest_taken(AA) is None


async def test_a_transfer_without_one_claim_of_the_right_shape_is_refused(tmp_path: Path) -> None:
    async with world(tmp_path) as its:
        claim = claim_entries(claim_of(5))
        for entries in ((), claim * 2, (Entry("claim", ContentType.JSON, b"{}"),)):
            with pytest.raises(BtpError) as refused:
                await its.payer._pay(5, entries)
            assert refused.value.code == "F01"


# What was committed is ours


async def test_a_host_that_fails_is_told_again_and_the_peer_is_answered_well(tmp_path: Path) -> None:
    waits: list[float] = []

    async def sleep(wait_s: float) -> None:
        waits.append(wait_s)
        await asyncio.sleep(0)

    async with world(tmp_path, host=Host(failures=3), sleep=sleep) as its:
        await its.payer.send_money(7)  # CLM-6
        await asyncio.wait_for(its.host.news.wait(), 5)
        assert its.host.amounts == [7]
        assert waits == [1.0, 2.0, 5.0]


async def test_what_was_committed_before_a_crash_is_told_afterwards(tmp_path: Path) -> None:
    stuck = asyncio.Event()

    async def sleep(_: float) -> None:
        await stuck.wait()

    async with world(tmp_path, host=Host(failures=1), sleep=sleep) as its:
        await its.payer.send_money(7)
        assert its.host.told == []
    async with world(tmp_path) as its:
        await asyncio.wait_for(its.host.news.wait(), 5)
        await its.payer.send_money(1)
        assert its.host.amounts == [7, 1]


async def test_a_book_that_is_away_for_a_moment_delays_and_loses_nothing(tmp_path: Path) -> None:
    class Flaky(Refusing):
        times = 0

        async def untold(self) -> Any:
            self.times -= 1
            if self.times >= 0:
                raise OSError("the disk is full")
            return await self._takes.untold()

        async def accept(self, claim: Claim) -> Credit:
            return await self._takes.accept(claim)

    class Away(ChannelPays):
        async def newest(self) -> Any:
            raise OSError("the disk is full")

    async def sleep(_: float) -> None:
        await asyncio.sleep(0)

    made: list[Flaky] = []

    def flaky(takes: ChannelTakes) -> Flaky:
        made.append(Flaky(takes))
        return made[0]

    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    async with world(tmp_path, host=Host(failures=1), takes_by=flaky, sleep=sleep) as its:
        its.payer._pays = Away(its.signed, PaymentSigner(PAYER, NETWORK), lambda: OURS)
        await its.again()
        made[0].times = 2
        await its.payer.send_money(7)
        await asyncio.wait_for(its.host.news.wait(), 5)
        assert its.host.amounts == [7]
    assert complaints == []


async def test_without_a_money_handler_a_claim_is_kept_and_the_peer_told_that_nobody_took_it(tmp_path: Path) -> None:
    going_on = asyncio.Event()

    async def sleep(_: float) -> None:
        await going_on.wait()

    async with world(tmp_path, sleep=sleep) as its:
        its.payee.deregister_money_handler()
        with pytest.raises(BtpError) as refused:
            await its.payer.send_money(7)  # LPI-12
        assert refused.value.code == "F00"
        assert await its.taken.taken(AA, 1) == 7
        its.payee.register_money_handler(its.host.take)
        going_on.set()
        await asyncio.wait_for(its.host.news.wait(), 5)
        assert its.host.amounts == [7]


async def test_claims_can_be_taken_by_one_function(tmp_path: Path) -> None:
    asked: list[Any] = []

    async def accept(package: Mapping[str, Any]) -> int:
        asked.append(package)
        return 3

    async with world(tmp_path, takes_by=lambda _: AcceptedBy(accept)) as its:
        await its.payer.send_money(7)
        assert its.host.amounts == [3]
        assert asked[0]["signed_message"]["amount_spent"] == 7
        assert await its.payer.ask_channel(AA) is None
        with pytest.raises(NotAcceptedError):
            await its.payer.ask_info()


# Getting in step


class Refusing:
    """Takes nothing while the database is away."""

    def __init__(self, takes: ChannelTakes) -> None:
        self._takes = takes
        self.is_away = True
        self.accepted: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._takes, name)

    async def accept(self, claim: Claim) -> Credit:
        if self.is_away:
            raise UnreachableError("the database is away")
        self.accepted.append(claim.amount_spent)
        return await self._takes.accept(claim)


async def test_a_claim_that_was_not_taken_is_sent_again_with_the_next_connection(tmp_path: Path) -> None:
    made: list[Refusing] = []

    def refusing(takes: ChannelTakes) -> Refusing:
        made.append(Refusing(takes))
        return made[0]

    async with world(tmp_path, takes_by=refusing) as its:
        with pytest.raises(BtpError) as refused:
            await its.payer.send_money(7)
        assert refused.value.code == "T00"  # HA-8
        made[0].is_away = False
        await its.again()
        await asyncio.wait_for(its.host.news.wait(), 5)
        assert its.host.amounts == [7]  # CLM-8
        await its.again()
        await its.payer.send_money(1)
        assert made[0].accepted == [7, 8]  # what is known to have arrived is not sent again


async def test_a_payer_that_lost_its_book_goes_on_from_the_claim_that_the_peer_has(tmp_path: Path) -> None:
    async with world(tmp_path) as its:
        await its.show(claim_of(50))
        await its.again()
        await its.payer.send_money(5)  # CLM-10
        assert its.host.amounts == [50, 5]
        newest = await its.signed.newest_signed(AA)
        assert newest is not None
        assert newest["signed_message"]["amount_spent"] == 55  # type: ignore[index,call-overload]


async def test_a_peer_cannot_make_us_believe_that_we_signed_more(tmp_path: Path) -> None:
    class Lying(Refusing):
        async def last_claim(self, _: str) -> Mapping[str, Any]:
            return claim_of(900, key=OTHER)

    def lying(takes: ChannelTakes) -> Lying:
        liar = Lying(takes)
        liar.is_away = False
        return liar

    async with world(tmp_path, takes_by=lying) as its:
        await its.payer.send_money(5)
        newest = await its.signed.newest_signed(AA)
        assert newest is not None
        assert newest["signed_message"]["amount_spent"] == 5  # type: ignore[index,call-overload]


async def test_nothing_is_signed_before_it_is_known_where_to_go_on(tmp_path: Path) -> None:
    asked, answers = asyncio.Event(), asyncio.Event()

    class Slow(Refusing):
        async def last_claim(self, aa_address: str) -> Any:
            asked.set()
            await answers.wait()
            return await self._takes.last_claim(aa_address)

    def slow(takes: ChannelTakes) -> Slow:
        it = Slow(takes)
        it.is_away = False
        return it

    async with world(tmp_path, takes_by=slow) as its:
        await asked.wait()
        paying = asyncio.create_task(its.payer.send_money(5))
        await its.show(claim_of(50))
        assert await its.signed.newest_signed(AA) is None
        answers.set()
        await paying
        assert its.host.amounts == [50, 5]


async def test_who_says_that_it_was_not_paid_gets_the_newest_claim_again(tmp_path: Path) -> None:
    made: list[Refusing] = []

    def refusing(takes: ChannelTakes) -> Refusing:
        made.append(Refusing(takes))
        return made[0]

    async with world(tmp_path, takes_by=refusing) as its:
        with pytest.raises(BtpError):
            await its.payer.send_money(7)
        made[0].is_away = False

        async def reject(_: bytes) -> bytes:
            return encode_packet(Reject("T04", "test.us", "exceeded maximum balance."))

        its.payee.register_data_handler(reject)
        await its.payer.send_data(b"packet")
        await asyncio.wait_for(its.host.news.wait(), 5)
        assert its.host.amounts == [7]  # CLM-8


async def test_a_claim_signed_when_the_connection_was_just_lost_is_not_said_to_be_unsent(tmp_path: Path) -> None:
    async with world(tmp_path) as its:
        pays = its.payer._pays
        assert pays is not None
        its.payer._dialled, link = None, its.payer._dialled
        try:
            with pytest.raises(UnreachableError) as failed:
                await its.payer._send_claim(pays, 5, claim_of(5))
        finally:
            its.payer._dialled = link
        assert not isinstance(failed.value, MoneyNotSentError)


# Questions


async def test_the_peer_may_ask_for_its_channel_and_for_nobody_elses(tmp_path: Path) -> None:
    async with world(tmp_path) as its:
        await its.payer.send_money(30)
        state = await its.payer.ask_channel(AA)
        assert state is not None
        assert (state.status, state.period, state.deposited, state.spent, state.capacity, state.timeout_s) == (
            "open",
            1,
            DEPOSIT,
            30,
            DEPOSIT - 30,
            3_600,
        )
        assert await its.payer.ask_channel(UNKNOWN.address) is None  # CLM-5
        assert await its.takes.last_claim(AA) == await its.taken.newest_taken(AA)
        assert await its.payer.ask_info() == INFO
        with pytest.raises(BtpError) as refused:
            await its.payer.ask_channel("nonsense")
        assert refused.value.code == "F01"
        its.channels.clear()  # it is somebody else's now
        assert await its.takes.last_claim(AA) is None


# The balance


FULFILLMENT = bytes(32)


def prepare(amount: int) -> bytes:
    later = datetime.now(UTC) + timedelta(seconds=30)
    return encode_packet(Prepare(amount, later, condition_of(FULFILLMENT), "test.us.you", b""))


async def fulfill(_: bytes) -> bytes:
    return encode_packet(Fulfill(FULFILLMENT))


async def test_what_is_owed_is_settled_by_claims_when_it_passes_the_threshold(tmp_path: Path) -> None:
    terms = {"maximum": 0, "settleThreshold": "-10", "settleTo": 0}
    async with world(tmp_path, payer_opts={"balance": terms}) as its:
        its.payee.register_data_handler(fulfill)
        await its.payer.send_data(prepare(10))
        assert its.payer.accounting.to_settle == 0
        await its.payer.send_data(prepare(5))
        await asyncio.wait_for(its.host.news.wait(), 5)
        assert its.host.amounts == [15]
        assert its.payer.accounting.to_settle == 0


async def test_a_settlement_that_cannot_be_paid_is_still_owed(tmp_path: Path) -> None:
    terms = {"settleThreshold": 0, "settleTo": 0}
    async with world(tmp_path, payer_opts={"balance": terms}) as its:
        its.payee.register_data_handler(fulfill)
        await its.payer.send_data(prepare(DEPOSIT + 1))
        while its.payer._is_settling:  # noqa: ASYNC110 - nobody is told
            await asyncio.sleep(0)
        balance = its.payer.accounting.balance
        assert balance is not None
        assert balance.units == -DEPOSIT - 1
        await its.payer.send_data(prepare(1))
        assert not its.payer._is_settling  # not with every packet


async def test_a_peer_sends_no_more_than_it_has_paid_for(tmp_path: Path) -> None:
    async with world(tmp_path, payee_opts={"balance": {"maximum": 10, "maxPacketAmount": 50}}) as its:
        its.payee.register_data_handler(fulfill)
        for amount, code in ((10, None), (1, "T04"), (51, "F08"), (0, None)):
            reply = decode_packet(await its.payer.send_data(prepare(amount)))
            assert getattr(reply, "code", None) == code  # ACC-5
        await its.payer.send_money(20)
        assert isinstance(decode_packet(await its.payer.send_data(prepare(20))), Fulfill)


async def test_what_is_not_fulfilled_is_not_owed() -> None:
    accounting = Accounting(None)
    assert await accounting.incoming(prepare(1), fulfill) == await fulfill(b"")
    plugin = ChannelPlugin({"balance": {"maximum": 10, "minimum": -5}}, takes=AcceptedBy(_never))
    accounting = plugin.accounting

    async def reject(_: bytes) -> bytes:
        return encode_packet(Reject("F02"))

    async def lie(_: bytes) -> bytes:
        return encode_packet(Fulfill(bytes(31) + b"\x01"))

    async def fail(_: bytes) -> bytes:
        raise UnreachableError("gone")

    for answer in (reject, lie, _nonsense):
        await accounting.incoming(prepare(10), answer)
        await accounting.outgoing(prepare(5), answer)
    with pytest.raises(UnreachableError):
        await accounting.incoming(prepare(10), fail)
    assert accounting.balance is not None
    assert accounting.balance.units == 0
    refused = decode_packet(await accounting.outgoing(prepare(6), fulfill))
    assert isinstance(refused, Reject)
    await accounting.outgoing(prepare(5), fulfill)
    assert accounting.balance.units == -5


async def _nonsense(_: bytes) -> bytes:
    return b"nonsense"


async def _never(_: Mapping[str, Any]) -> int:
    return 0


@pytest.mark.parametrize(
    "terms",
    [7, {"unknown": 1}, {"maximum": 1.5}, {"maximum": True}, {"maximum": "x"}, {"minimum": 5, "maximum": 0}],
)
def test_terms_that_are_wrong_are_refused(terms: Any) -> None:
    with pytest.raises(InvalidFieldsError):
        ChannelPlugin({"balance": terms}, takes=AcceptedBy(_never))


# Parts


async def test_turns_are_taken_one_after_the_other_and_forgotten() -> None:
    turns, order = Turns(), []

    async def take(number: int) -> None:
        async with turns.of("one"):
            order.append(number)
            await asyncio.sleep(0)
            order.append(number)

    await asyncio.gather(*(take(number) for number in range(3)))
    assert order == [0, 0, 1, 1, 2, 2]
    assert len(turns) == 0


async def test_a_book_never_goes_back_and_is_the_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "book.db"
    async with ClaimBook(path) as book:
        assert (await book.take(AA, 1, 9, {"a": 9})).amount == 9
        assert (await book.take(AA, 1, 5, {"a": 5})).amount == 0
        await book.recover(AA, 1, 9, {"a": 9})
        await book.recover(AA, 1, 5, {"a": 5})
        assert await book.newest_taken(AA) == await book.newest_signed(AA) == {"a": 9}
    assert path.stat().st_mode & 0o777 == 0o600
    async with ClaimBook(path) as book:
        assert [credit.amount for credit in await book.untold()] == [9]
        assert (await book.take(AA, 2, 5, {"b": 5})).amount == 5
        assert await book.newest_taken(AA) == {"b": 5}


def test_no_claim_is_shown() -> None:
    package = claim_of(5)
    assert package["authors"][0]["authentifiers"]["r"] not in repr(read_claim(5, claim_entries(package)))
