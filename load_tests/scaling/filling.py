"""Payments of the past, in bulk: what a receiver has on record after years."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shared.store.database import Connection

MESSAGE = json.dumps({"order": "2026-000001"})
PERIOD = 1
"""Theirs. What is paid now is of a later one."""
_AGES_DAYS = 700
_PART = 250_000

# Past payments of the same channels, of an earlier period. They lie as they came in, over two years.
_FILL = f"""
    INSERT INTO {{table}}
      (id, aa_address, period, amount_spent, payment_amount, asset, message, accepted_at) {{overriding}}
    SELECT n, ($1::text[])[1 + n % cardinality($1::text[])], {PERIOD}, n, 1, 'base', $2,
           '2024-01-01'::timestamptz + n * (interval '{_AGES_DAYS} days' / $5::bigint)
      FROM generate_series($3::bigint + 1, $4::bigint) AS n
"""  # noqa: S608 - constants only


async def fill_payments(
    conn: Connection,
    table: str,
    addresses: Sequence[str],
    already: int,
    rows: int,
    written: Callable[[int], object] = lambda _: None,
) -> None:
    """Let there be so many past payments in `payments` or `payments_archive`, where there were `already` so many.

    In bulk: triggers stay away. `written` is told of each part.
    """
    sql = _FILL.format(table=table, overriding="OVERRIDING SYSTEM VALUE" if table == "payments" else "")
    async with conn.transaction():
        await conn.execute("SET LOCAL session_replication_role = replica")
        for start in range(already, rows, _PART):
            end = min(start + _PART, rows)
            await conn.execute(sql, list(addresses), MESSAGE, start, end, max(rows, 1))
            written(end - start)
        await conn.execute("SELECT setval('payments_id_seq', greatest($1, last_value)) FROM payments_id_seq", rows + 1)
    await conn.execute(f"VACUUM ANALYZE {table}")
    await conn.execute("CHECKPOINT")


async def make_months(conn: Connection) -> None:
    """Make the months of the archive that these payments are of."""
    await conn.execute(
        "SELECT make_payments_month(('2024-01-01'::date + n * interval '1 month')::date)"
        "  FROM generate_series(0, 23) AS n"
    )
