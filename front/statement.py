"""Payments as a statement in CSV: what there was before, every payment, what there is after. As of one moment.

For each asset: the balance of the `opening` row plus the amounts of the rows between is the balance of the `closing`
row. A balance is what the payments that were asked for come to, from the first one: the closing of one month is the
opening of the next. Of months that were dropped (`SLUICE_PAYMENTS_RETENTION_S`) there is one row `dropped` each, with
their sum.

The rows are written to a file first, at the database's pace: a slow reader must not keep a transaction open.
"""

from __future__ import annotations

import csv
import io
import tempfile
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Any

from shared.store import archive, payments

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from shared.store.database import Connection
    from shared.store.payments import Filter

COLUMNS = (
    *("record", "id", "accepted_at", "aa_address", "period", "amount_spent"),
    *("asset", "amount", "balance", "message"),
)
MAX_ROWS = 500_000
_IN_MEMORY = 1_000_000
_CHUNK = 65_536


class StatementTooLargeError(Exception):
    """There are more payments than fit in one statement."""


async def write_statement(conn: Connection, which: Filter) -> IO[bytes]:
    """Write the statement of the payments into a temporary file, and return it at its beginning.

    Call it in a transaction that sees one moment only. Raises StatementTooLargeError.
    """
    before = {} if which.since is None else await _totals(conn, replace(which, since=None, until=which.since))
    within = await _totals(conn, which)
    if sum(count for count, _ in within.values()) > MAX_ROWS:
        raise StatementTooLargeError
    dropped = await archive.dropped(conn, which)
    earlier = [month for month in dropped if which.since is not None and month.begins_at < which.since]
    listed = [month for month in dropped[len(earlier) :] if which.until is None or month.begins_at < which.until]
    assets = sorted({*before, *within, *(month.asset for month in (*earlier, *listed))}) or [which.asset or "base"]
    amounts = dict.fromkeys(assets, 0)
    balances = {asset: before.get(asset, (0, 0))[1] for asset in assets}
    for month in earlier:
        balances[month.asset] += month.amount
    file = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - whoever reads it closes it
    text = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for asset in assets:
        writer.writerow(_balance_row("opening", asset, which.since, balances[asset]))
    for month in listed:
        balances[month.asset] += month.amount
        amounts[month.asset] += month.amount
        row = _balance_row("dropped", month.asset, month.begins_at, balances[month.asset])
        writer.writerow({**row, "amount": month.amount})
    async for payment in payments.export(conn, which):
        balances[payment.asset] += payment.payment_amount
        writer.writerow(
            {
                "record": "payment",
                "id": payment.id,
                "accepted_at": payment.accepted_at.isoformat(),
                "aa_address": payment.aa_address,
                "period": payment.period,
                "amount_spent": payment.amount_spent,
                "asset": payment.asset,
                "amount": payment.payment_amount,
                "balance": balances[payment.asset],
                "message": payment.message or "",
            }
        )
    for asset in assets:
        amount = amounts[asset] + within.get(asset, (0, 0))[1]
        writer.writerow({**_balance_row("closing", asset, which.until, balances[asset]), "amount": amount})
    text.flush()
    text.detach()
    file.seek(0)
    return file


def chunks(file: IO[bytes]) -> Iterator[bytes]:
    """Read a file to its end, and close it."""
    with file:
        while chunk := file.read(_CHUNK):
            yield chunk


async def _totals(conn: Connection, which: Filter) -> dict[str, tuple[int, int]]:
    return {total.asset: (total.count, total.amount) for total in await payments.totals(conn, which)}


def _balance_row(record: str, asset: str, at: datetime | None, balance: int) -> dict[str, Any]:
    return {"record": record, "accepted_at": "" if at is None else at.isoformat(), "asset": asset, "balance": balance}
