"""Consumers and providers over real sockets: dialled, dialling, and what they do for each other."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
from moneysocket_support import BOLT11, OTHER_SEED, SEED

from shared.moneysocket.beacons import Beacon, WebSocketLocation
from shared.moneysocket.errors import ProtocolError
from shared.moneysocket.events import (
    Announced,
    IncomingPayment,
    InvoiceWanted,
    LayerChanged,
    PaymentProven,
    PaymentWanted,
    PingAnswered,
    ProviderKnown,
    ProviderNotReady,
    RequestExpired,
    RequestFailed,
    Revoked,
)
from shared.moneysocket.limits import Limits
from shared.moneysocket.opinion import (
    OpinionBuyerNexus,
    OpinionInvoiceReceived,
    OpinionInvoiceWanted,
    OpinionReceived,
    OpinionSellerNexus,
    ShopOpen,
)
from shared.moneysocket.opinion_messages import OpinionItem
from shared.moneysocket.session import OUTGOING_LOCAL
from shared.moneysocket.stacks import ConsumerStack, ProviderStack, Relay, RequestError, Stopped
from tests.integration.moneysocket.stack_support import (
    PATIENCE_S,
    PAYMENT_HASH,
    PREIMAGE,
    QUICK,
    TOO_DEAR,
    Wallet,
    heard,
    soon,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.moneysocket.seeds import SharedSeed

SELLER = "0f3a1c52-4b2e-4f63-8f0e-5d2f7a9c1b11"
ITEM = OpinionItem("soup", "On soup", 2000)


@pytest.fixture
async def relay() -> AsyncIterator[Relay]:
    relay = Relay(QUICK)
    await relay.open()
    yield relay
    await relay.close()


def at(relay: Relay, seed: SharedSeed = SEED) -> Beacon:
    return Beacon(seed, relay.locations)


async def test_over_a_relay_invoices_are_made_and_paid_and_the_new_balance_told(relay: Relay) -> None:
    wallet = Wallet()
    async with wallet.stack() as provider, ConsumerStack(QUICK) as consumer:
        told_again = heard(consumer, ProviderKnown, 2)
        provider.connect(at(relay))
        connection = consumer.connect(at(relay).encode())
        await connection.announced(PATIENCE_S)
        assert connection.provider is not None
        assert await connection.invoice(7000) == f"{BOLT11}7000"
        proof = await connection.pay("lnbc1abc", PAYMENT_HASH)
        assert (proof.preimage, proof.is_verified) == (PREIMAGE, True)
        wad = (await soon(told_again)).wad
        assert wad is not None
        assert wad.msats == 999_000


async def test_what_the_wallet_refuses_is_told_in_its_words(relay: Relay) -> None:
    async with Wallet().stack() as provider, ConsumerStack(QUICK) as consumer:
        provider.connect(at(relay))
        connection = consumer.connect(at(relay))
        await connection.announced(PATIENCE_S)
        with pytest.raises(RequestError, match="not that much") as refused:
            await connection.pay(TOO_DEAR)
    assert refused.value.code == "request_failed"


async def test_a_listening_provider_serves_each_seed_and_dials_others_at_once(relay: Relay) -> None:
    wallet = Wallet()
    async with wallet.stack() as provider, ConsumerStack(QUICK) as consumer:
        await provider.listen()
        provider.accept(SEED)
        provider.connect(at(relay, OTHER_SEED))
        callers = [consumer.connect(provider.beacon(SEED)), consumer.connect(at(relay, OTHER_SEED))]
        for number, caller in enumerate(callers, 1):
            await caller.announced(PATIENCE_S)
            assert await caller.invoice(number) == f"{BOLT11}{number}"
        assert {connection.seed for connection in provider.connections} == {SEED, OTHER_SEED}


async def test_who_has_another_seed_gets_nowhere_at_a_listener() -> None:
    async with Wallet().stack() as provider, ConsumerStack(QUICK) as consumer:
        await provider.listen()
        provider.accept(SEED)
        stranger = consumer.connect(provider.beacon(OTHER_SEED))
        friend = consumer.connect(provider.beacon(SEED))
        await friend.announced(PATIENCE_S)
        assert not stranger.is_announced


async def test_a_consumer_can_be_dialled_by_a_wallet() -> None:
    async with Wallet().stack() as provider, ConsumerStack(QUICK) as consumer:
        await consumer.listen()
        connection = consumer.accept(SEED)
        provider.connect(consumer.beacon(SEED))
        await connection.announced(PATIENCE_S)
        assert await connection.invoice(5) == f"{BOLT11}5"
        assert (await connection.pay("lnbc1abc")).preimage == PREIMAGE


async def test_a_withdrawn_seed_is_served_no_more_and_can_be_accepted_again() -> None:
    async with Wallet().stack() as provider, ConsumerStack(QUICK) as consumer:
        await provider.listen()
        revoked, waits = heard(consumer, Revoked), heard(provider, LayerChanged)
        provider.accept(SEED)
        assert (await soon(waits)).layer == OUTGOING_LOCAL
        caller = consumer.connect(provider.beacon(SEED))
        await caller.announced(PATIENCE_S)
        await provider.disconnect(SEED)
        await soon(revoked)
        assert provider.connections == ()
        provider.accept(SEED)
        await caller.announced(PATIENCE_S)


async def test_every_location_is_tried_and_a_lost_one_is_dialled_again() -> None:
    first, wallet = Relay(QUICK), Wallet()
    await first.open()
    (place,) = first.locations
    nowhere = WebSocketLocation("127.0.0.1", 1, use_tls=False)
    beacon = Beacon(SEED, (nowhere, place))
    second = Relay(QUICK)
    await second.open()
    both = Beacon(SEED, (*beacon.locations, *second.locations))
    async with wallet.stack() as provider, ConsumerStack(QUICK) as consumer:
        provider.connect(both)
        connection = consumer.connect(both)
        await connection.announced(PATIENCE_S)
        wallet.finish.clear()
        paying = asyncio.create_task(connection.pay("lnbc1abc"))
        announced = heard(consumer, Announced)
        await first.close()
        with pytest.raises(RequestError) as lost:
            await asyncio.wait_for(paying, PATIENCE_S)
        assert lost.value.code == "in_doubt"
        await soon(announced)
        assert await connection.invoice(1) == f"{BOLT11}1"
    await second.close()


async def test_a_request_times_out_and_its_late_proof_is_reported(relay: Relay) -> None:
    wallet = Wallet()
    wallet.finish.clear()
    hasty = dataclasses.replace(QUICK, limits=Limits(request_s=0.05))
    async with wallet.stack() as provider, ConsumerStack(hasty) as consumer:
        proven = heard(consumer, PaymentProven)
        provider.connect(at(relay))
        connection = consumer.connect(at(relay))
        await connection.announced(PATIENCE_S)
        with pytest.raises(RequestError) as late:
            await asyncio.wait_for(connection.pay("lnbc1abc"), PATIENCE_S)
        assert late.value.code == "timed_out"
        wallet.finish.set()
        assert (await soon(proven)).is_late


async def test_both_ends_ping(relay: Relay) -> None:
    lively = dataclasses.replace(QUICK, limits=Limits(ping_s=0.02, provider_ping_s=0.02))
    async with Wallet().stack(lively) as provider, ConsumerStack(lively) as consumer:
        answered = heard(provider, PingAnswered), heard(consumer, PingAnswered, 2)
        provider.connect(at(relay))
        consumer.connect(at(relay))
        for pong in answered:
            assert (await soon(pong)).round_trip_s >= 0


async def test_a_provider_becomes_ready_later_and_tells_of_payments_that_come_in(relay: Relay) -> None:
    wallet = Wallet()
    wallet.msats = None
    async with wallet.stack() as provider, ConsumerStack(QUICK) as consumer:
        not_ready, came_in = heard(consumer, ProviderNotReady), heard(consumer, IncomingPayment)
        provider.connect(at(relay))
        connection = consumer.connect(at(relay))
        await soon(not_ready)
        assert not connection.is_announced
        wallet.msats = 5000
        provider.inform([OTHER_SEED])
        provider.inform([SEED])
        await connection.announced(PATIENCE_S)
        assert provider.notify_preimage(PREIMAGE, seeds=[OTHER_SEED]) == 0
        assert provider.notify_preimage(PREIMAGE) == 1
        assert (await soon(came_in)).payment_hash == PAYMENT_HASH


async def test_requests_are_answered_by_hand_under_the_uuid_that_was_chosen(relay: Relay) -> None:
    async with ProviderStack(Wallet().info, QUICK) as provider, ConsumerStack(QUICK) as consumer:
        wanted = heard(provider, InvoiceWanted)
        provider.connect(at(relay))
        connection = consumer.connect(at(relay))
        await connection.announced(PATIENCE_S)
        failed = heard(consumer, RequestFailed)
        assert connection.request_invoice(1, request_uuid=SELLER) == SELLER
        assert (await soon(wanted)).request_uuid == SELLER
        assert provider.notify_error("no", SELLER, [SEED]) == 1
        assert (await soon(failed)).text == "no"


async def test_a_provider_without_hands_says_so(relay: Relay) -> None:
    async with ProviderStack(Wallet().info, QUICK) as provider, ConsumerStack(QUICK) as consumer:
        provider.connect(at(relay))
        connection = consumer.connect(at(relay))
        await connection.announced(PATIENCE_S)
        with pytest.raises(RequestError, match="not made here"):
            await connection.invoice(1)
        with pytest.raises(RequestError, match="not made here"):
            await connection.pay("lnbc1abc")


async def test_a_wallet_that_breaks_fails_an_invoice_and_leaves_a_payment_in_doubt(relay: Relay) -> None:
    async def broken(*_: Any) -> str:
        raise LookupError

    provider = ProviderStack(Wallet().info, QUICK, make_invoice=broken, pay=broken)
    async with provider, ConsumerStack(QUICK) as consumer:
        provider.connect(at(relay))
        connection = consumer.connect(at(relay))
        await connection.announced(PATIENCE_S)
        paying = asyncio.create_task(connection.pay("lnbc1abc"))
        await asyncio.sleep(0)  # so that it asks first
        with pytest.raises(RequestError, match="could not be made"):
            await connection.invoice(1)
        assert not paying.done()
        await connection.close()
        with pytest.raises(RequestError) as doubtful:
            await paying
    assert doubtful.value.code == "in_doubt"


async def test_no_more_requests_are_worked_on_than_the_limit_says(relay: Relay) -> None:
    wallet = Wallet()
    wallet.finish.clear()
    few = dataclasses.replace(QUICK, limits=Limits(max_open_requests=2, request_s=0.05))
    async with wallet.stack(few) as provider, ConsumerStack(QUICK) as consumer:
        provider.connect(at(relay))
        connection = consumer.connect(at(relay))
        await connection.announced(PATIENCE_S)
        expired = heard(provider, RequestExpired, 2)
        for _ in range(2):
            connection.request_pay("lnbc1abc")
        await soon(expired)
        with pytest.raises(RequestError, match=r"^too many requests$"):
            await connection.pay("lnbc1abc")
        assert len(wallet.asked) == 2


async def test_opinions_are_sold_by_layers_of_their_own_at_both_ends(relay: Relay) -> None:
    wallet = Wallet()
    provider = wallet.stack(extra=lambda: (OpinionSellerNexus(SELLER, [ITEM]),))
    async with provider, ConsumerStack(QUICK, extra=lambda: (OpinionBuyerNexus(),)) as consumer:

        def sell(seller: Any, wanted: OpinionInvoiceWanted) -> None:
            shop = seller.layer(OpinionSellerNexus)
            seller.order(shop.notify_invoice, "lnbc1soup", wanted.request_uuid)
            seller.order(shop.deliver, wanted.item.item_id, "Hot.", wanted.request_uuid)

        provider.on(OpinionInvoiceWanted, sell)
        shown, billed, read = (heard(consumer, kind) for kind in (ShopOpen, OpinionInvoiceReceived, OpinionReceived))
        provider.connect(at(relay))
        connection = consumer.connect(at(relay))
        await connection.announced(PATIENCE_S)
        assert (await soon(shown)).items == (ITEM,)
        connection.order(connection.layer(OpinionBuyerNexus).buy, "soup")
        assert (await soon(billed)).bolt11 == "lnbc1soup"
        assert (await soon(read)).opinion == "Hot."
        assert await connection.invoice(3) == f"{BOLT11}3"
        with pytest.raises(ProtocolError):
            connection.layer(OpinionSellerNexus)


async def test_two_consumers_of_one_seed_stop_with_the_reason(relay: Relay) -> None:
    async with ConsumerStack(QUICK) as one, ConsumerStack(QUICK) as other:
        stopped = heard(one, Stopped)
        connection = one.connect(at(relay))
        other.connect(at(relay))
        assert (await soon(stopped)).code == "same_role"
        with pytest.raises(ProtocolError, match="same_role"):
            await connection.announced(PATIENCE_S)
        assert one.connections == ()


async def test_a_handler_that_fails_harms_nobody(relay: Relay, caplog: pytest.LogCaptureFixture) -> None:
    async with Wallet().stack() as provider, ConsumerStack(QUICK) as consumer:

        def fail(_: Any, __: Announced) -> None:
            raise LookupError

        consumer.on(Announced, fail)
        provider.connect(at(relay))
        connection = consumer.connect(at(relay))
        await connection.announced(PATIENCE_S)
        assert await connection.invoice(1) == f"{BOLT11}1"
    assert "a handler of Announced failed" in caplog.text


async def test_layers_that_cannot_be_made_end_the_connection(relay: Relay, caplog: pytest.LogCaptureFixture) -> None:
    def break_down() -> tuple[()]:
        raise LookupError

    async with ConsumerStack(QUICK, extra=break_down) as consumer:
        stopped = heard(consumer, Stopped)
        consumer.connect(at(relay))
        assert (await soon(stopped)).code == "broken"
    assert "a connection cannot go on" in caplog.text


async def test_an_answer_that_nobody_is_there_to_hear_is_logged(relay: Relay, caplog: pytest.LogCaptureFixture) -> None:
    wallet = Wallet()
    wallet.finish.clear()
    async with wallet.stack() as provider, ConsumerStack(QUICK) as consumer:
        left = heard(provider, Revoked)
        provider.connect(at(relay))
        connection = consumer.connect(at(relay))
        await connection.announced(PATIENCE_S)
        wanted = heard(provider, PaymentWanted)
        connection.request_pay("lnbc1abc")
        await soon(wanted)
        await connection.close()
        await soon(left)
        wallet.finish.set()
        await asyncio.gather(*provider._tasks)
    assert "nobody was there to hear" in caplog.text


async def test_several_ways_to_one_seed_share_what_they_saw_and_it_outlives_them(relay: Relay) -> None:
    async with Wallet().stack() as provider, ConsumerStack(QUICK) as consumer:
        ways = provider.accept(SEED), provider.connect(at(relay))
        assert ways[0].guard is ways[1].guard
        await consumer.connect(at(relay)).announced(PATIENCE_S)
        await provider.disconnect(SEED)
        assert ways[0].guard.latest > 0
        assert provider.accept(SEED).guard.latest == ways[0].guard.latest
        assert provider.accept(OTHER_SEED, forgotten_until=5).guard.latest == 5


async def test_orders_before_the_other_end_has_come_are_refused(relay: Relay) -> None:
    async with ConsumerStack(QUICK) as consumer:
        connection = consumer.connect(at(relay))
        with pytest.raises(ProtocolError) as refused:
            connection.request_invoice(1)
        assert refused.value.code == "not_announced"
        with pytest.raises(TimeoutError):
            await connection.announced(0.01)
        assert SEED.secret.hex() not in repr(connection)
