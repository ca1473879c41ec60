from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from moneysocket_support import (
    ACCOUNT,
    BOLT11,
    INFO,
    NOW,
    OTHER_SEED,
    SEED,
    Table,
    consumer,
    dice,
    frame_of,
    happened,
    only,
    pair,
    provider,
    read,
)

from shared.moneysocket.errors import MoneysocketError, ProtocolError
from shared.moneysocket.events import (
    Announced,
    CloseWanted,
    IncomingPayment,
    InvoiceReceived,
    InvoiceWanted,
    LayerChanged,
    PaymentProven,
    PaymentWanted,
    PingAnswered,
    ProviderKnown,
    ProviderNotReady,
    Refused,
    RequestExpired,
    RequestFailed,
    RequestInDoubt,
    RequestTimedOut,
    Revoked,
    Unhandled,
)
from shared.moneysocket.frames import MAX_FRAME_BYTES
from shared.moneysocket.limits import Limits
from shared.moneysocket.messages import (
    NotifyError,
    NotifyInvoice,
    NotifyPreimage,
    NotifyProvider,
    NotifyRendezvous,
    NotifyRendezvousEnd,
    RequestInvoice,
    RequestPay,
    RequestPing,
    RequestProvider,
    RequestRendezvous,
)
from shared.moneysocket.provider import ProviderInfo
from shared.moneysocket.replay import ReplayGuard
from shared.moneysocket.wads import bitcoin

if TYPE_CHECKING:
    from shared.moneysocket.session import Session

PREIMAGE = "ab" * 32
HASH = hashlib.sha256(bytes.fromhex(PREIMAGE)).hexdigest()


def layers(session: Session) -> list[str]:
    return [
        f"{event.layer} {event.status.removeprefix('NEXUS_')}" if isinstance(event, LayerChanged) else "APP"
        for event in session.take_events()
        if isinstance(event, LayerChanged | Announced | Revoked)
    ]


def test_the_consumer_learns_who_provides_when_both_are_there() -> None:
    table, asking = Table(), consumer()
    table.dial("consumer", asking)
    assert not asking.is_announced
    table.dial("provider", provider())
    assert asking.is_announced
    assert happened(asking)[:2] == [Announced(), ProviderKnown(ACCOUNT, payer=True, payee=True, wad=bitcoin(1_000_000))]


def test_the_layers_come_from_the_lowest_up_and_go_as_in_the_reference() -> None:
    table, asking = Table(), consumer()
    table.dial("consumer", asking)
    table.dial("provider", provider())
    assert layers(asking) == [
        "OUTGOING_WEBSOCKET CREATED",
        "OUTGOING_WEBSOCKET ANNOUNCED",
        "OUTGOING_RENDEZVOUS CREATED",
        "OUTGOING_RENDEZVOUS WAITING",
        "OUTGOING_RENDEZVOUS ANNOUNCED",
        "CONSUMER CREATED",
        "CONSUMER ANNOUNCED",
        "CONSUMER_TRANSACT CREATED",
        "CONSUMER_TRANSACT ANNOUNCED",
        "APP",
    ]
    table.hang_up("provider")
    table.settle()
    assert layers(asking) == [
        "OUTGOING_WEBSOCKET DESTROYED",
        "OUTGOING_RENDEZVOUS DESTROYED",
        "CONSUMER DESTROYED",
        "CONSUMER_TRANSACT DESTROYED",
        "APP",
        "CONSUMER_TRANSACT REVOKED",
        "CONSUMER REVOKED",
        "OUTGOING_RENDEZVOUS REVOKED",
        "OUTGOING_WEBSOCKET REVOKED",
    ]


def test_an_invoice_is_asked_for_made_paid_and_proven() -> None:
    table, asking, providing = pair()
    asked = asking.request_invoice(12_345, NOW)
    table.settle()
    wanted = only(happened(providing), InvoiceWanted)
    assert wanted == InvoiceWanted(asked, 12_345)
    providing.notify_invoice(BOLT11, NOW, wanted.request_uuid)
    table.settle()
    assert only(happened(asking), InvoiceReceived) == InvoiceReceived(asked, BOLT11, 12_345)
    paid = asking.request_pay(BOLT11, NOW, payment_hash=HASH)
    table.settle()
    assert only(happened(providing), PaymentWanted) == PaymentWanted(paid, BOLT11)
    providing.notify_preimage(PREIMAGE, NOW, paid)
    providing.inform(ProviderInfo(ACCOUNT, payer=True, payee=True, wad=bitcoin(5)), NOW)
    table.settle()
    events = happened(asking)
    assert only(events, PaymentProven) == PaymentProven(paid, PREIMAGE, is_verified=True)
    assert only(events, ProviderKnown).wad == bitcoin(5)


def test_a_preimage_that_the_hash_contradicts_proves_nothing_and_the_right_one_still_does() -> None:
    table, asking, providing = pair()
    paid = asking.request_pay(BOLT11, NOW, payment_hash=HASH)
    providing.notify_preimage("cd" * 32, NOW, paid)
    table.settle()
    assert only(happened(asking), Refused).code == "wrong_preimage"
    providing.notify_preimage(PREIMAGE, NOW, paid)
    table.settle()
    assert only(happened(asking), PaymentProven).is_verified


def test_an_answer_of_the_wrong_kind_leaves_the_request_open() -> None:
    table, asking, providing = pair()
    asked = asking.request_invoice(1, NOW)
    providing.notify_preimage(PREIMAGE, NOW, asked)
    table.settle()
    assert only(happened(asking), Refused).code == "wrong_answer"
    providing.notify_invoice(BOLT11, NOW, asked)
    table.settle()
    assert only(happened(asking), InvoiceReceived).request_uuid == asked


def test_an_answer_to_somebody_else_is_not_ours() -> None:
    table, asking, providing = pair()
    stranger = "11111111-2222-4333-8444-555555555555"
    providing.notify_invoice(BOLT11, NOW, stranger)
    providing.notify_preimage(PREIMAGE, NOW, stranger)
    providing.notify_error("no", NOW, stranger)
    table.settle()
    assert happened(asking) == [
        Unhandled("NOTIFY_INVOICE", stranger),
        Unhandled("NOTIFY_PREIMAGE", stranger),
        Unhandled("NOTIFY_ERROR", stranger),
    ]


def test_a_payment_that_came_in_is_reported_with_its_hash() -> None:
    table, asking, providing = pair()
    providing.notify_preimage(PREIMAGE, NOW)
    table.settle()
    assert happened(asking) == [IncomingPayment(HASH, PREIMAGE)]


def test_errors_are_matched_and_cut() -> None:
    table, asking, providing = pair()
    asked = asking.request_invoice(1, NOW)
    providing.notify_error("account cap exceeded", NOW, asked)
    table.settle()
    assert happened(asking) == [RequestFailed(asked, "account cap exceeded")]
    asking.receive(frame_of(NotifyError, error_msg="x" * 5000), NOW)
    assert happened(asking) == [RequestFailed(None, "x" * 500)]


def test_a_provider_that_is_not_ready_says_so_and_tells_when_it_is() -> None:
    table, asking, providing = Table(), consumer(), provider(None)
    table.dial("consumer", asking)
    table.dial("provider", providing)
    assert happened(asking) == [ProviderNotReady()]
    assert not providing.is_announced
    providing.inform(INFO, NOW)
    table.settle()
    assert asking.is_announced
    assert providing.is_announced


def test_a_repeated_request_for_the_provider_is_answered_and_makes_no_ghost() -> None:
    table, asking, providing = pair()
    providing.receive(frame_of(RequestProvider), NOW)
    (answer,) = providing.take_frames()
    assert isinstance(read(answer), NotifyProvider)
    assert not any(isinstance(event, Announced) for event in providing.take_events())
    providing.notify_error("once", NOW)
    assert len(providing.take_frames()) == 1
    table.hang_up("provider")
    assert layers(providing).count("PROVIDER_TRANSACT REVOKED") == 1
    assert asking.is_announced


def test_a_repeated_notice_of_the_rendezvous_makes_no_second_consumer() -> None:
    _, asking, _ = pair()
    asking.receive(frame_of(NotifyRendezvous, rendezvous_id=SEED.rendezvous_id), NOW)
    assert asking.take_events() == []
    assert asking.take_frames() == []


def test_the_end_of_another_rendezvous_is_not_ours() -> None:
    _, asking, _ = pair()
    asking.receive(frame_of(NotifyRendezvousEnd, rendezvous_id=OTHER_SEED.rendezvous_id), NOW)
    assert only(happened(asking), Refused).code == "wrong_rendezvous"
    asking.receive(frame_of(NotifyRendezvousEnd, rendezvous_id=SEED.rendezvous_id), NOW)
    assert happened(asking) == [CloseWanted("rendezvous_ended")]


def test_an_application_message_in_clear_is_refused_on_both_sides() -> None:
    _, asking, providing = pair()
    clear = (
        b'{"timestamp": 1700000000, "protocol": "Moneysocket", "protocol_version": "0.0.0", "message_class": "REQUEST",'
        b' "request_uuid": "11111111-2222-4333-8444-555555555555", "request_name": "REQUEST_PAY", "bolt11": "lnbc1"}'
    )
    for session in (asking, providing):
        session.receive(clear, NOW)
        assert [event.code for event in happened(session) if isinstance(event, Refused)] == ["clear_message"]


def test_application_messages_before_the_rendezvous_are_refused() -> None:
    providing = provider()
    providing.connected(NOW)
    providing.take_events()
    providing.receive(frame_of(RequestPay, bolt11=BOLT11), NOW)
    assert only(happened(providing), Refused).code == "out_of_order"
    for _ in range(100):
        providing.receive(frame_of(RequestPay, bolt11=BOLT11), NOW)
    assert only(happened(providing), CloseWanted).code == "too_many_refused"


def test_transactions_before_the_handshake_reach_nobody() -> None:
    table, providing = Table(), provider()
    table.dial("provider", providing)
    providing.receive(frame_of(NotifyRendezvous, rendezvous_id=SEED.rendezvous_id), NOW)
    providing.take_events()
    providing.receive(frame_of(RequestPay, bolt11=BOLT11), NOW)
    assert happened(providing) == [Unhandled("REQUEST_PAY", None)]


@pytest.mark.parametrize(
    ("kind", "fields"), [(RequestPay, {"bolt11": BOLT11}), (RequestInvoice, {"msats": 5})], ids=str
)
def test_a_replayed_request_is_processed_once(kind: type[RequestPay], fields: dict[str, str]) -> None:
    _, _, providing = pair()
    frame = frame_of(kind, **fields)
    providing.receive(frame, NOW)
    assert isinstance(happened(providing)[0], PaymentWanted | InvoiceWanted)
    providing.receive(frame, NOW + 1)
    assert [event.code for event in happened(providing) if isinstance(event, Refused)] == ["replayed"]


def test_a_request_recorded_in_one_connection_is_refused_in_the_next_of_the_same_seed() -> None:
    guard = ReplayGuard()
    frame = frame_of(RequestPay, bolt11=BOLT11)
    outcomes = []
    for _ in range(2):
        table, asking, providing = Table(), consumer(), provider(guard=guard)
        table.dial("consumer", asking)
        table.dial("provider", providing)
        providing.take_events()
        providing.receive(frame, NOW)
        outcomes.append(type(happened(providing)[0]))
    assert outcomes == [PaymentWanted, Refused]


def test_a_changed_timestamp_does_not_hide_a_replay() -> None:
    """Whoever relays a frame can flip bits of its first block: the leading digits of the timestamp."""
    _, _, providing = pair()
    frame = bytearray(frame_of(RequestPay, bolt11=BOLT11))
    providing.receive(bytes(frame), NOW)
    providing.take_events()
    frame[14] ^= ord("1") ^ ord("9")
    providing.receive(bytes(frame), NOW)
    assert only(happened(providing), Refused).code == "replayed"


def test_a_frame_of_ours_that_comes_back_is_refused() -> None:
    table, asking, _ = pair()
    asking.request_pay(BOLT11, NOW)
    (frame,) = asking.take_frames()
    asking.receive(frame, NOW)
    assert only(happened(asking), Refused).code == "reflected"
    table.settle()


def test_a_consumer_pings_at_once_and_every_three_seconds() -> None:
    table, asking, _ = pair()
    table.later(9)
    assert [event.round_trip_s for event in happened(asking) if isinstance(event, PingAnswered)] == [0, 0, 0]


def test_both_ends_of_ours_notice_silence() -> None:
    table, asking, providing = pair()
    table.later(60)
    table.sessions.clear()  # the network swallows everything from here on
    for session, code in ((asking, "silent"), (providing, "silent")):
        session.take_events()
        for second in range(61, 200):
            session.tick(NOW + second)
        assert only(happened(session), CloseWanted).code == code


def test_silence_is_not_held_against_a_consumer_that_never_pings() -> None:
    """The Python library neither pings nor answers pings."""
    _, _, providing = pair()
    fresh = provider()
    fresh.connected(NOW)
    fresh.receive(frame_of(NotifyRendezvous, rendezvous_id=SEED.rendezvous_id), NOW)
    fresh.receive(frame_of(RequestProvider), NOW)
    for second in range(0, 3000, 10):
        fresh.tick(NOW + second)
    assert not fresh.wants_close
    assert not providing.wants_close


def test_a_ping_is_answered_by_both_ends() -> None:
    _, asking, providing = pair()
    for session in (asking, providing):
        session.receive(frame_of(RequestPing), NOW)
        assert len(session.take_frames()) == 1


def test_two_consumers_notice_that_they_are_alike() -> None:
    table, first, second = Table(), consumer(), consumer(random=dice(7))
    table.dial("first", first)
    table.dial("second", second)
    assert CloseWanted("same_role") in [*first.take_events(), *second.take_events()]


def test_two_providers_do_not_wait_for_each_other_for_ever() -> None:
    table, first, second = Table(), provider(), provider()
    table.dial("first", first)
    table.dial("second", second)
    table.later(31)
    assert CloseWanted("nobody_asked") in [*first.take_events(), *second.take_events()]


@pytest.mark.parametrize(("after_s", "code"), [(29, None), (31, "nobody_answered")])
def test_a_silent_matchmaker_is_given_up(after_s: float, code: str | None) -> None:
    asking = consumer()
    asking.connected(NOW)
    asking.take_events()
    asking.tick(NOW + after_s)
    assert happened(asking) == ([CloseWanted(code)] if code else [])


def test_a_dialler_does_not_wait_for_ever() -> None:
    table, asking = Table(), consumer()
    table.dial("consumer", asking)
    table.later(3700)
    assert only(happened(asking), CloseWanted).code in ("nobody_came", "rendezvous_ended")


def test_a_request_times_out_and_its_late_answer_still_counts() -> None:
    table, asking, providing = pair()
    paid = asking.request_pay(BOLT11, NOW, payment_hash=HASH)
    table.settle()
    table.later(121)
    assert only(happened(asking), RequestTimedOut) == RequestTimedOut(paid, "REQUEST_PAY")
    assert only(happened(providing), RequestExpired).request_uuid == paid
    providing.notify_preimage(PREIMAGE, table.now_s, paid)
    table.settle()
    assert only(happened(asking), PaymentProven) == PaymentProven(paid, PREIMAGE, is_verified=True, is_late=True)


def test_a_proof_counts_even_if_an_error_came_first() -> None:
    table, asking, providing = pair()
    paid = asking.request_pay(BOLT11, NOW, payment_hash=HASH)
    providing.notify_error("the node took too long", NOW, paid)
    providing.notify_preimage(PREIMAGE, NOW, paid)
    providing.notify_preimage(PREIMAGE, NOW, paid)
    table.settle()
    assert happened(asking) == [
        RequestFailed(paid, "the node took too long"),
        PaymentProven(paid, PREIMAGE, is_verified=True, is_late=True),
        Unhandled("NOTIFY_PREIMAGE", paid),
    ]


def test_what_was_given_up_is_remembered_up_to_a_number() -> None:
    _, asking, _ = pair(limits=Limits(max_remembered_requests=2))
    asked = [asking.request_invoice(1, NOW) for _ in range(3)]
    for request_uuid in asked:
        asking.receive(frame_of(NotifyError, error_msg="no", request_reference_uuid=request_uuid), NOW)
    happened(asking)
    for request_uuid in asked:
        asking.receive(frame_of(NotifyInvoice, bolt11=BOLT11, request_reference_uuid=request_uuid), NOW)
    assert [type(event) for event in happened(asking)] == [Unhandled, InvoiceReceived, InvoiceReceived]


def test_what_is_open_when_the_connection_goes_stays_in_doubt() -> None:
    table, asking, _ = pair()
    paid = asking.request_pay(BOLT11, NOW)
    table.hang_up("consumer")
    assert only(happened(asking), RequestInDoubt) == RequestInDoubt(paid, "REQUEST_PAY")


def test_too_many_open_requests_are_answered_with_an_error() -> None:
    limits = Limits(max_open_requests=2)
    _, asking, providing = pair(limits=limits)
    for _ in range(3):
        providing.receive(frame_of(RequestInvoice, msats=1), NOW)
    assert len([event for event in happened(providing) if isinstance(event, InvoiceWanted)]) == 2
    (error,) = providing.take_frames()
    assert isinstance(read(error), NotifyError)
    asking.request_invoice(1, NOW)
    asking.request_invoice(1, NOW)
    with pytest.raises(ProtocolError) as refused:
        asking.request_invoice(1, NOW)
    assert refused.value.code == "too_many_open"


def test_an_amount_beyond_all_bitcoin_is_answered_with_an_error() -> None:
    _, _, providing = pair()
    providing.receive(frame_of(RequestInvoice, msats=10**30), NOW)
    assert happened(providing) == []
    (error,) = providing.take_frames()
    assert isinstance(read(error), NotifyError)


@pytest.mark.parametrize("msats", [0, -1, 10**30])
def test_we_ask_for_no_amount_that_nobody_could_pay(msats: int) -> None:
    _, asking, _ = pair()
    with pytest.raises(ProtocolError) as refused:
        asking.request_invoice(msats, NOW)
    assert refused.value.code == "bad_order"


def test_a_request_may_bear_a_uuid_of_the_callers_choice_once() -> None:
    _, asking, _ = pair()
    name = "11111111-2222-4333-8444-555555555555"
    assert asking.request_invoice(1, NOW, request_uuid=name) == name
    with pytest.raises(ProtocolError) as refused:
        asking.request_pay(BOLT11, NOW, request_uuid=name)
    assert refused.value.code == "duplicate_request"
    for order in ({"request_uuid": "not a uuid"}, {"payment_hash": "not a hash"}):
        with pytest.raises(ProtocolError) as refused:
            asking.request_pay(BOLT11, NOW, **order)
        assert refused.value.code == "bad_order"


def test_orders_need_a_connection_that_is_announced() -> None:
    asking = consumer()
    for prepare in (lambda: None, lambda: asking.connected(NOW), lambda: asking.closed(NOW)):
        prepare()
        with pytest.raises(ProtocolError) as refused:
            asking.request_invoice(1, NOW)
        assert refused.value.code == "not_announced"


def test_whoever_sends_nothing_but_junk_is_cut_off() -> None:
    _, _, providing = pair()
    for _ in range(200):
        providing.receive(b"junk", NOW)
    events = happened(providing)
    assert len([event for event in events if isinstance(event, Refused)]) == 100
    assert events[-1] == CloseWanted("too_many_refused")
    providing.receive_text(NOW)
    providing.close(NOW)
    assert providing.take_events() == []


def test_refusals_are_forgiven_by_messages_that_are_taken() -> None:
    _, _, providing = pair()
    for _ in range(200):
        providing.receive(b"junk", NOW)
        providing.receive(frame_of(RequestPing), NOW)
    assert not providing.wants_close


def test_a_frame_that_is_too_long_is_neither_read_nor_written() -> None:
    _, asking, providing = pair()
    for frame in (bytes(MAX_FRAME_BYTES + 16), b" " * MAX_FRAME_BYTES + b"{}"):
        providing.receive(frame, NOW)
        assert only(happened(providing), Refused).code == "too_long"
    with pytest.raises(MoneysocketError) as refused:
        asking.request_pay("lnbc" + "1" * MAX_FRAME_BYTES, NOW)
    assert refused.value.code == "too_long"


def test_a_closed_session_is_silent() -> None:
    table, asking, _ = pair()
    asking.close(NOW)
    assert happened(asking) == [CloseWanted("asked_to")]
    table.hang_up("consumer")
    asking.take_events()
    asking.connected(NOW)
    asking.receive(frame_of(NotifyInvoice, bolt11=BOLT11), NOW)
    asking.tick(NOW + 1000)
    asking.closed(NOW)
    assert (asking.take_events(), asking.take_frames(), asking.next_timer_s) == ([], [], None)


def test_what_no_consumer_would_take_is_refused_when_the_provider_is_informed() -> None:
    with pytest.raises(MoneysocketError):
        ProviderInfo("account", payer=True, payee=True, wad=None)


def test_nothing_secret_is_shown() -> None:
    asking = consumer()
    assert SEED.secret.hex() not in repr(SEED)
    assert PREIMAGE not in repr(PaymentProven("", PREIMAGE, is_verified=True)) + repr(IncomingPayment(HASH, PREIMAGE))
    assert PREIMAGE not in repr(read(frame_of(NotifyPreimage, preimage=PREIMAGE)))
    assert repr(SEED.secret) not in repr(asking)


def test_time_may_follow_a_clock_that_is_never_set() -> None:
    asking = consumer(unix_offset_s=NOW)
    asking.connected(5)
    (frame,) = asking.take_frames()
    message = read(frame)
    assert isinstance(message, RequestRendezvous)
    assert message.timestamp == NOW + 5
