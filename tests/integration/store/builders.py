"""Rows to test with; every default is the ordinary case."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from shared.channels.model import Channel, Status
from shared.store import channels
from shared.store.channel_rows import NewChannel
from shared.store.payments import NewPayment

if TYPE_CHECKING:
    from shared.store.database import Connection

OWN = "4LLSURBMWBLF5S6X6NGZZPGK5NZT62V6"
PEER = "WY2BUWUP7NMMG62V4SJJXV4GXKY7TTEB"
ASSET = "a" * 43 + "="


def address(number: int = 0) -> str:
    return f"{number:032d}"


def unit(number: int = 0) -> str:
    return f"{number:043d}="


def new_channel(number: int = 0, **changes: Any) -> NewChannel:
    channel = NewChannel(
        aa_address=address(number),
        own_address=OWN,
        peer_address=PEER,
        asset="base",
        timeout_s=1_000,
        salt=f"salt {number}",
        version="1.1",
        role="A",
    )
    return replace(channel, **changes)


async def insert_open(conn: Connection, number: int = 0, *, asset: str = "base", **state: Any) -> Channel:
    """Insert an open channel with a deposit of the peer, as the worker."""
    new = new_channel(number, asset=asset)
    assert await channels.insert(conn, new) is channels.Insertion.CREATED
    channel = Channel(
        aa_address=new.aa_address,
        own_address=new.own_address,
        peer_address=new.peer_address,
        asset=new.asset,
        timeout_s=new.timeout_s,
        status=Status.OPEN,
        period=1,
        deposited_by_peer=1_000_000,
        last_event_id=1,
        definition_confirmed=True,
    )
    channel = replace(channel, **state)
    await channels.save_transition(conn, channel)
    return channel


def payment(amount_spent: int, payment_amount: int, number: int = 0, *, message: str | None = None) -> NewPayment:
    return NewPayment(address(number), 1, amount_spent, payment_amount, message)
