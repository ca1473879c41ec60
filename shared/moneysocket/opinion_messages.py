"""The messages of the opinion extension: a shop that sells opinions, the worked example of how to extend the protocol.

| who asks | message                | answered by                                                              |
|----------|------------------------|--------------------------------------------------------------------------|
| a buyer  | `RequestOpinionSeller` | `NotifyOpinionSeller` or `NotifyOpinionSellerNotReady` (closed for now)  |
| a buyer  | `RequestOpinionInvoice` | `NotifyOpinionInvoice`, and once that is paid `NotifyOpinion`           |

A buyer is a consumer, a seller a provider. The same messages, byte for byte, as the `bs-demo` of the reference.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from shared.moneysocket.messages import Notification, Request, carried
from shared.moneysocket.rules import TEXT, UUID, Rule, refuse

if TYPE_CHECKING:
    from shared.moneysocket.dialects import Dialect
    from shared.moneysocket.json_text import JsonValue

EXTENSION = "OPINION_SELLER_DEMO_V0"
MAX_ITEMS = 1000


@dataclass(frozen=True, slots=True)
class OpinionItem:
    """Something for sale. The reference takes fractions of a millisatoshi; a shop of ours names whole ones."""

    item_id: str
    name: str
    msats: float
    extra: dict[str, JsonValue] = field(default_factory=dict, repr=False)

    def to_json(self) -> dict[str, JsonValue]:
        """The item as it is sent."""
        return {"item_id": self.item_id, "name": self.name, "msats": self.msats, **self.extra}


def _extension(value: JsonValue, _: Dialect) -> str:
    if value != EXTENSION:
        raise refuse(f"is not {EXTENSION}")
    return EXTENSION


def _items(value: JsonValue, _: Dialect) -> tuple[OpinionItem, ...]:
    if not isinstance(value, list) or len(value) > MAX_ITEMS:
        raise refuse(f"is not a list of at most {MAX_ITEMS} items")
    return tuple(_item(item) for item in value)


def _item(value: JsonValue) -> OpinionItem:
    if not isinstance(value, dict):
        raise refuse("holds something that is no item")
    item_id, name, msats = value.get("item_id"), value.get("name"), value.get("msats")
    if not isinstance(item_id, str) or not isinstance(name, str):
        raise refuse("holds an item without an id or a name")
    if isinstance(msats, bool) or not isinstance(msats, int | float) or not 0 <= msats < float("inf"):
        raise refuse("holds an item without a price")
    extra = {key: part for key, part in value.items() if key not in ("item_id", "name", "msats")}
    return OpinionItem(item_id, name, msats, extra)


def _written_items(items: tuple[OpinionItem, ...], _: Dialect) -> list[dict[str, Any]]:
    return [item.to_json() for item in items]


_EXTENSION_RULE = Rule(_extension)
_ITEMS_RULE = Rule(_items, _written_items)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestOpinionSeller(Request):
    """Buyer to seller: tell me what you sell."""

    NAME: ClassVar[str] = "REQUEST_OPINION_SELLER"

    extension_protocol: str = carried(_EXTENSION_RULE, default=EXTENSION)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyOpinionSeller(Notification):
    """Seller to buyer: what is for sale, and at which price; sent again whenever that changes."""

    NAME: ClassVar[str] = "NOTIFY_OPINION_SELLER"

    items: tuple[OpinionItem, ...] = carried(_ITEMS_RULE)
    seller_uuid: str = carried(UUID)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyOpinionSellerNotReady(Notification):
    """Seller to buyer: closed; you will hear when that changes."""

    NAME: ClassVar[str] = "NOTIFY_OPINION_SELLER_NOT_READY"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestOpinionInvoice(Request):
    """Buyer to seller: an invoice for this item, please."""

    NAME: ClassVar[str] = "REQUEST_OPINION_INVOICE"

    item_id: str = carried(TEXT)
    extension_protocol: str = carried(_EXTENSION_RULE, default=EXTENSION)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyOpinionInvoice(Notification):
    """Seller to buyer: pay this."""

    NAME: ClassVar[str] = "NOTIFY_OPINION_INVOICE"

    bolt11: str = carried(TEXT)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyOpinion(Notification):
    """Seller to buyer: paid, here it is."""

    NAME: ClassVar[str] = "NOTIFY_OPINION"

    opinion: str = carried(TEXT)
    item_id: str = carried(TEXT)


OPINION_KINDS = (
    RequestOpinionSeller,
    NotifyOpinionSeller,
    NotifyOpinionSellerNotReady,
    RequestOpinionInvoice,
    NotifyOpinionInvoice,
    NotifyOpinion,
)
