"""What the auditor says of a database at the end of a test that put it to work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.audit import RULES, Audit
from shared.store.audit.reading import snapshot
from shared.store.audit.rules import Limits

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from shared.channels.exposure import ExposureRules
    from shared.channels.model import UnconfirmedLimits

STATEMENT_S = 60.0
OF_THE_LEDGER = frozenset({"events_have_no_gap", "status_follows_events", "balances_follow_events"})
"""Rules for tests without a ledger to leave out: they write the channels' state themselves."""


async def broken_rules(
    database_url: str,
    exposure: ExposureRules,
    unconfirmed: Mapping[str, UnconfirmedLimits] | None = None,
    *,
    without: Collection[str] = (),
) -> list[tuple[str, list[object]]]:
    """Return every rule that does not hold, with its rows. All signatures are verified."""
    rules = [rule for rule in RULES if rule.name not in without]
    audit = Audit(rules, Limits(unconfirmed or {}, exposure), default_network="devnet", deep=True)
    async with snapshot(database_url, statement_s=STATEMENT_S) as conn:
        report = await audit.run(conn)
    return [(finding.name, list(finding.rows)) for finding in report.broken]
