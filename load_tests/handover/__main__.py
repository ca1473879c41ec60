"""`python -m load_tests.handover`."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from load_tests.handover.measuring import Handover, Report, measure
from sluice.cli.up import stop_on_signals

_ROWS = {
    "another worker holds the lease": "taken_s",
    "and has read the ledger": "in_step_s",
    "the old process has ended": "ended_s",
}


def main() -> int:
    """Measure. Exit status: 0 when no payment failed and no hand-over took longer than it may, else 1."""
    parser = argparse.ArgumentParser(prog="python -m load_tests.handover", description=__doc__)
    parser.add_argument("--upgrades", type=int, default=20, help="hand-overs by SIGTERM (default 20)")
    parser.add_argument("--crashes", type=int, default=20, help="hand-overs by kill -9 (default 20)")
    parser.add_argument("--channels", type=int, default=10, help="channels that are paid through (default 10)")
    parser.add_argument("--ttl", type=float, default=10.0, metavar="SECONDS", help="SLUICE_LEASE_TTL_S (default 10)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10_000))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    given = parser.parse_args()
    console = Console(highlight=False)
    console.print(f"seed {given.seed}")
    with tempfile.TemporaryDirectory(prefix="sluice-") as home:
        report = asyncio.run(_measure(Path(home) / "home", given, console))
    _show(report, console)
    if given.json is not None:
        given.json.write_text(json.dumps(asdict(report), indent=2) + "\n", encoding="utf-8")
    return 0 if report.is_good else 1


async def _measure(home: Path, given: argparse.Namespace, console: Console) -> Report:
    stop_on_signals()
    kinds = [*(["upgrade"] * given.upgrades), *(["crash"] * given.crashes)]
    chance = random.Random(given.seed)
    chance.shuffle(kinds)

    def tell(number: int, done: Handover) -> None:
        console.print(f"{number:3} of {len(kinds)}  {done.kind:<8} {done.taken_s:7.3f} s  {done.in_step_s:7.3f} s")

    return await measure(home, kinds, channels=given.channels, ttl_s=given.ttl, chance=chance, tell=tell)


def _show(report: Report, console: Console) -> None:
    table = Table("", "until", "median", "worst", title=f"SLUICE_LEASE_TTL_S={report.ttl_s:g}")
    for kind in ("upgrade", "crash"):
        for said, name in _ROWS.items():
            if kind == "crash" and name == "ended_s":
                continue
            median, worst = report.figures(kind, name)
            table.add_row(f"{kind} ({report.count(kind)})", said, f"{median:.3f} s", f"{worst:.3f} s")
    console.print(table)
    failed = ", ".join(f"{count} {code}" for code, count in report.failures.most_common()) or "none"
    console.print(
        f"{report.payments} payments meanwhile, the slowest took {report.slowest_payment_s:.2f} s; failed: {failed}"
    )


if __name__ == "__main__":
    sys.exit(main())
