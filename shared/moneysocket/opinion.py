"""The layers of the opinion extension, for buyer and seller: the worked example of a custom layer.

A custom layer is a nexus with `KINDS`, put on top of a session by `extra=(…,)`; its orders go through
`session.order(now_s, layer.order, …)`, and it reports events of its own.

| buyer   | NotifyOpinionSeller         | ...NotReady  | NotifyOpinionInvoice, NotifyOpinion                      |
|---------|-----------------------------|--------------|----------------------------------------------------------|
| ASKING  | OPEN, announce, `ShopOpen`  | `ShopClosed` | refused `unknown_request`                                |
| OPEN    | `ShopOpen`                  | `ShopClosed` | if asked for `OpinionInvoiceReceived`, `OpinionReceived` |

| seller  | RequestOpinionSeller, open           | ..., closed   | RequestOpinionInvoice                             |
|---------|--------------------------------------|---------------|---------------------------------------------------|
| ASKING  | NotifyOpinionSeller, OPEN, announce  | ...NotReady   | NotifyError                                       |
| OPEN    | NotifyOpinionSeller                  | ...NotReady   | `OpinionInvoiceWanted`, or NotifyError            |
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, ClassVar

from shared.moneysocket.errors import ProtocolError
from shared.moneysocket.events import Event
from shared.moneysocket.messages import Message, NotifyError
from shared.moneysocket.nexus import Nexus, Table
from shared.moneysocket.opinion_messages import (
    OPINION_KINDS,
    NotifyOpinion,
    NotifyOpinionInvoice,
    NotifyOpinionSeller,
    NotifyOpinionSellerNotReady,
    OpinionItem,
    RequestOpinionInvoice,
    RequestOpinionSeller,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

NOT_FOR_SALE = "not for sale"


class ShopState(Enum):
    """See the tables above."""

    ASKING = auto()
    OPEN = auto()


@dataclass(frozen=True, slots=True)
class ShopOpen(Event):
    """To a buyer: what is for sale now."""

    seller_uuid: str
    items: tuple[OpinionItem, ...]


@dataclass(frozen=True, slots=True)
class ShopClosed(Event):
    """To a buyer: nothing is for sale for now."""


@dataclass(frozen=True, slots=True)
class OpinionInvoiceReceived(Event):
    """To a buyer: pay this for the item."""

    request_uuid: str
    item_id: str
    bolt11: str


@dataclass(frozen=True, slots=True)
class OpinionReceived(Event):
    """To a buyer: the opinion that was paid for."""

    request_uuid: str
    item_id: str
    opinion: str


@dataclass(frozen=True, slots=True)
class OpinionInvoiceWanted(Event):
    """To a seller: an invoice over the price of this item is wanted."""

    request_uuid: str
    item: OpinionItem


class OpinionBuyerNexus(Nexus):
    """On top of a consumer."""

    LAYER = "OPINION_BUYER"
    KINDS = OPINION_KINDS

    def __init__(self) -> None:
        self.state: ShopState = ShopState.ASKING
        self._bought: dict[str, str] = {}

    def on_created(self) -> None:
        """Ask what is for sale."""
        self.link.request(RequestOpinionSeller)

    def buy(self, item_id: str) -> str:
        """Order: ask for the invoice of an item. Returns the request's uuid. Raises ProtocolError `too_many_open`."""
        if len(self._bought) >= self.link.limits.max_open_requests:
            raise ProtocolError("too_many_open", f"{len(self._bought)} opinions have not come yet")
        request_uuid = self.link.request(RequestOpinionInvoice, item_id=item_id).request_uuid
        self._bought[request_uuid] = item_id
        return request_uuid

    def on_other(self, message: Message) -> None:
        """Forget what the seller will not sell; the application sees the error itself."""
        if isinstance(message, NotifyError):
            self._bought.pop(message.request_reference_uuid or "", None)
        self.link.pass_up(message)

    def _open(self, message: NotifyOpinionSeller) -> None:
        self.state = ShopState.OPEN
        self.link.announce()
        self.link.emit(ShopOpen(message.seller_uuid, message.items))

    def _closed(self, _: Message) -> None:
        self.link.emit(ShopClosed())

    def _invoice(self, message: NotifyOpinionInvoice) -> None:
        request_uuid = message.request_reference_uuid or ""
        if item_id := self._bought.get(request_uuid):
            self.link.emit(OpinionInvoiceReceived(request_uuid, item_id, message.bolt11))
        else:
            self.link.refuse("unknown_request", "an invoice came that nobody asked for")

    def _opinion(self, message: NotifyOpinion) -> None:
        request_uuid = message.request_reference_uuid or ""
        if item_id := self._bought.pop(request_uuid, None):
            self.link.emit(OpinionReceived(request_uuid, item_id, message.opinion))
        else:
            self.link.refuse("unknown_request", "an opinion came that nobody asked for")

    TABLE: ClassVar[Table] = {
        (ShopState.ASKING, NotifyOpinionSeller): _open,
        (ShopState.ASKING, NotifyOpinionSellerNotReady): _closed,
        (ShopState.ASKING, NotifyOpinionInvoice): _invoice,
        (ShopState.ASKING, NotifyOpinion): _opinion,
        (ShopState.OPEN, NotifyOpinionSeller): _open,
        (ShopState.OPEN, NotifyOpinionSellerNotReady): _closed,
        (ShopState.OPEN, NotifyOpinionInvoice): _invoice,
        (ShopState.OPEN, NotifyOpinion): _opinion,
    }


class OpinionSellerNexus(Nexus):
    """On top of a provider. Open once it has something to sell."""

    LAYER = "OPINION_SELLER"
    KINDS = OPINION_KINDS

    def __init__(self, seller_uuid: str, items: Sequence[OpinionItem] = ()) -> None:
        self.state: ShopState = ShopState.ASKING
        self._seller_uuid = seller_uuid
        self._items = tuple(items)
        self._asked_uuid: str | None = None

    def on_created(self) -> None:
        """Wait for a buyer."""

    def offer(self, items: Sequence[OpinionItem]) -> None:
        """Order, at any time: sell these from now on; none at all closes the shop for those who ask from now on."""
        self._items = tuple(items)
        if self._items and self._asked_uuid is not None:
            self._tell(self._asked_uuid)

    def notify_invoice(self, bolt11: str, reference: str) -> None:
        """Order: answer `OpinionInvoiceWanted`."""
        self.link.notify(NotifyOpinionInvoice, reference, bolt11=bolt11)

    def deliver(self, item_id: str, opinion: str, reference: str) -> None:
        """Order: hand over what was paid for."""
        self.link.notify(NotifyOpinion, reference, item_id=item_id, opinion=opinion)

    def _asked(self, message: RequestOpinionSeller) -> None:
        self._asked_uuid = message.request_uuid
        if self._items:
            self._tell(self._asked_uuid)
        else:
            self.link.notify(NotifyOpinionSellerNotReady, self._asked_uuid)

    def _tell(self, reference: str) -> None:
        self.state = ShopState.OPEN
        self.link.notify(NotifyOpinionSeller, reference, items=self._items, seller_uuid=self._seller_uuid)
        self.link.announce()

    def _invoice(self, message: RequestOpinionInvoice) -> None:
        items = [item for item in self._items if item.item_id == message.item_id]
        if items and self.state is ShopState.OPEN:
            self.link.emit(OpinionInvoiceWanted(message.request_uuid, items[0]))
        else:
            self.link.notify(NotifyError, message.request_uuid, error_msg=NOT_FOR_SALE)

    TABLE: ClassVar[Table] = {
        (ShopState.ASKING, RequestOpinionSeller): _asked,
        (ShopState.ASKING, RequestOpinionInvoice): _invoice,
        (ShopState.OPEN, RequestOpinionSeller): _asked,
        (ShopState.OPEN, RequestOpinionInvoice): _invoice,
    }
