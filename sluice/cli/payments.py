"""`sluice payments …`: what was received."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from sluice.cli.common import AsJson, group, open_database, print_json, print_table, read_settings, run

if TYPE_CHECKING:
    from shared.store.payments import Filter, Payment

COLUMNS = ("id", "accepted_at", "aa_address", "period", "amount_spent", "payment_amount", "asset", "message")

Channel = Annotated[str | None, typer.Option("--channel", metavar="AA_ADDRESS", help="Of this channel only.")]
Since = Annotated[datetime | None, typer.Option(help="Accepted at this time (UTC) or later.")]
Until = Annotated[datetime | None, typer.Option(help="Accepted before this time (UTC).")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    commands = group("payments", "The payments that were received.")
    commands.command("list", epilog="Example: sluice payments list --limit 20")(list_payments)
    commands.command(epilog="Example: sluice payments export --csv --since 2026-01-01 > payments.csv")(export)
    app.add_typer(commands)


def list_payments(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most this many.")] = 50,
    channel: Channel = None,
    since: Since = None,
    until: Until = None,
    as_json: AsJson = False,
) -> None:
    """List payments, newest first."""
    found = run(_page(limit, channel, since, until))
    if as_json:
        print_json([{**_fields(payment), "message": _message(payment)} for payment in found])
        return
    print_table(
        ["id", "accepted", "channel", "period", "amount", "asset", "spent so far"],
        [(str(p.id), p.accepted_at, p.aa_address, p.period, p.payment_amount, p.asset, p.amount_spent) for p in found],
        empty="There are no payments.",
    )


def export(
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="Write here instead of to the terminal.")] = None,
    channel: Channel = None,
    since: Since = None,
    until: Until = None,
    _as_csv: Annotated[bool, typer.Option("--csv", help="As CSV; the only form there is, and the default.")] = True,
) -> None:
    """Write all payments, oldest first, as of one moment. Amounts are in the asset's smallest unit, times in UTC."""
    if output is None:
        run(_export(sys.stdout, channel, since, until))
    else:
        with output.open("w", encoding="utf-8", newline="") as file:
            run(_export(file, channel, since, until))


async def _page(limit: int, channel: str | None, since: datetime | None, until: datetime | None) -> Sequence[Payment]:
    from shared.store import payments

    async with open_database(read_settings()) as database, database.connection() as conn:
        return await payments.page_back(conn, _filter(channel, since, until), limit=limit)


async def _export(file: IO[str], channel: str | None, since: datetime | None, until: datetime | None) -> None:
    from shared.store import payments

    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    async with open_database(read_settings()) as database, database.transaction() as conn:
        writer.writeheader()
        async for payment in payments.export(conn, _filter(channel, since, until)):
            writer.writerow(_fields(payment))


def _filter(channel: str | None, since: datetime | None, until: datetime | None) -> Filter:
    from shared.store.payments import Filter

    return Filter(aa_address=channel, since=_utc(since), until=_utc(until))


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=moment.tzinfo or UTC)


def _fields(payment: Payment) -> dict[str, object]:
    fields = {name: getattr(payment, name) for name in COLUMNS}
    return {**fields, "accepted_at": payment.accepted_at.isoformat()}


def _message(payment: Payment) -> object:
    """Return the message as the value that its JSON text means."""
    return None if payment.message is None else json.loads(payment.message)
