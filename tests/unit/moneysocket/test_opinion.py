from __future__ import annotations

from typing import TYPE_CHECKING

from moneysocket_support import ACCOUNT, BOLT11, NOW, SEED, Table, consumer, frame_of, happened, only, provider, read

from shared.moneysocket.events import Announced, Refused, RequestFailed, Unhandled
from shared.moneysocket.messages import NotifyError, NotifyRendezvous, RequestProvider
from shared.moneysocket.opinion import (
    NOT_FOR_SALE,
    OpinionBuyerNexus,
    OpinionInvoiceReceived,
    OpinionInvoiceWanted,
    OpinionReceived,
    OpinionSellerNexus,
    ShopClosed,
    ShopOpen,
)
from shared.moneysocket.opinion_messages import NotifyOpinion, OpinionItem, RequestOpinionInvoice

if TYPE_CHECKING:
    from shared.moneysocket.session import Session

HELLO = OpinionItem("hello", "Hello World", 1000)


def shop(*items: OpinionItem) -> tuple[Table, Session, OpinionBuyerNexus, Session, OpinionSellerNexus]:
    buyer, seller, table = OpinionBuyerNexus(), OpinionSellerNexus(ACCOUNT, items), Table()
    buying, selling = consumer(extra=(buyer,)), provider(extra=(seller,))
    table.dial("buyer", buying)
    table.dial("seller", selling)
    return table, buying, buyer, selling, seller


def test_an_opinion_is_bought() -> None:
    table, buying, buyer, selling, seller = shop(HELLO)
    events = happened(buying)
    assert only(events, ShopOpen) == ShopOpen(ACCOUNT, (HELLO,))
    assert only(events, Announced)
    asked = buying.order(NOW, buyer.buy, "hello")
    table.settle()
    assert only(happened(selling), OpinionInvoiceWanted) == OpinionInvoiceWanted(asked, HELLO)
    selling.order(NOW, seller.notify_invoice, BOLT11, asked)
    selling.order(NOW, seller.deliver, "hello", "Sincere Hello!!", asked)
    table.settle()
    events = happened(buying)
    assert only(events, OpinionInvoiceReceived) == OpinionInvoiceReceived(asked, "hello", BOLT11)
    assert only(events, OpinionReceived) == OpinionReceived(asked, "hello", "Sincere Hello!!")


def test_a_closed_shop_says_so_and_tells_when_it_opens_and_when_prices_change() -> None:
    table, buying, _, selling, seller = shop()
    assert only(happened(buying), ShopClosed)
    assert not buying.is_announced
    seller.offer([HELLO])
    table.settle()
    assert buying.is_announced
    assert selling.is_announced
    dearer = OpinionItem("hello", "Hello World", 2000)
    seller.offer([dearer])
    table.settle()
    events = happened(buying)
    assert [event.items for event in events if isinstance(event, ShopOpen)] == [(HELLO,), (dearer,)]
    assert events.count(Announced()) == 1


def test_what_is_not_for_sale_is_refused_and_forgotten() -> None:
    table, buying, buyer, _, _ = shop(HELLO)
    asked = buying.order(NOW, buyer.buy, "nothing")
    table.settle()
    assert Unhandled("NOTIFY_ERROR", asked) in happened(buying)
    buying.receive(frame_of(NotifyOpinion, opinion="x", item_id="nothing", request_reference_uuid=asked), NOW)
    assert only(happened(buying), Refused).code == "unknown_request"
    assert NOT_FOR_SALE


def test_nothing_is_sold_before_the_buyer_knows_the_prices() -> None:
    selling = provider(extra=(OpinionSellerNexus(ACCOUNT, [HELLO]),))
    Table().dial("seller", selling)
    selling.receive(frame_of(NotifyRendezvous, rendezvous_id=SEED.rendezvous_id), NOW)
    selling.receive(frame_of(RequestProvider), NOW)
    selling.take_events(), selling.take_frames()
    selling.receive(frame_of(RequestOpinionInvoice, item_id="hello"), NOW)
    assert happened(selling) == []
    (refusal,) = selling.take_frames()
    assert isinstance(read(refusal), NotifyError)


def test_an_opinion_that_nobody_asked_for_is_refused() -> None:
    _, buying, _, _, _ = shop(HELLO)
    buying.take_events()
    buying.receive(frame_of(NotifyOpinion, opinion="x", item_id="hello"), NOW)
    assert only(happened(buying), Refused).code == "unknown_request"


def test_the_layers_below_work_on_as_ever() -> None:
    _, buying, _, _, _ = shop(HELLO)
    buying.take_events()
    buying.receive(frame_of(NotifyError, error_msg="no"), NOW)
    assert happened(buying) == [RequestFailed(None, "no")]


def test_an_extension_unknown_here_is_refused() -> None:
    _, buying, _, _, _ = shop(HELLO)
    plain = consumer()
    plain.connected(NOW)
    plain.take_events()
    plain.receive(frame_of(NotifyOpinion, opinion="x", item_id="hello"), NOW)
    assert only(happened(plain), Refused).code == "unknown_kind"
    assert buying.is_announced
