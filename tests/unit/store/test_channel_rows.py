from __future__ import annotations

from dataclasses import fields
from typing import Any, cast

from shared.channels.model import Channel, Status
from shared.store.channel_rows import STATE_COLUMNS, channel_of

NAMES = [name.strip() for name in STATE_COLUMNS.split(",")]


def test_the_columns_stand_in_the_order_of_the_fields() -> None:
    assert [field.name for field in fields(Channel) if field.name != "claim"] == NAMES


def test_a_row_becomes_the_channel_it_was_written_from() -> None:
    channel = Channel(
        *("aa", "own", "peer", "base", 1000, "1.2", Status.CLOSING_BY_PEER, 3, 10, 20, 30, 40, 5, "claim"),
        *(2, 60, 7, 8, True, 9, True),
    )
    row = tuple("closing_initiated_by_peer" if name == "status" else getattr(channel, name) for name in NAMES)
    assert channel_of(cast("Any", (*row, "more columns")), claim="claim") == channel
    assert channel_of(cast("Any", row)).claim is None


def test_after_a_payment_only_what_it_changes_is_different() -> None:
    channel = Channel(
        *("aa", "own", "peer", "base", 1000, "1.2", Status.OPEN, 3, 10, 20, 30, 40, 5, "claim"),
        *(2, None, 7, 8, True, 9, True),
    )
    after = channel.after_payment(spent_by_peer=31, credit=6, claim="better")
    before = {field.name: getattr(channel, field.name) for field in fields(Channel)}
    changed = {name for name, value in before.items() if getattr(after, name) != value}
    assert changed == {"spent_by_peer", "credit", "claim"}
    assert (after.spent_by_peer, after.credit, after.claim) == (31, 6, "better")
