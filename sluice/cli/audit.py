"""`sluice audit`: do the books hold, on the live database."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from sluice.cli.common import AsJson, CommandError, print_json, print_table, read_settings, run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from shared.audit import Finding, Report, Rule
    from shared.audit.auditing import Progress
    from shared.audit.holdings import Holdings
    from shared.obyte.serialization import JsonValue
    from shared.settings import Settings
    from shared.store.channel_rows import StoredChannel
    from shared.store.database import Connection

_HUB_S = 10.0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: sluice audit --deep --json")(audit)


def audit(
    deep: Annotated[bool, typer.Option("--deep", help="Verify every signature, not a sample of each page.")] = False,
    ledger: Annotated[
        bool, typer.Option("--ledger", help="Also compare each channel with what the hub says of its agent.")
    ] = False,
    only: Annotated[
        list[str] | None, typer.Option(metavar="RULE", help="This rule only; may be given several times.")
    ] = None,
    list_rules: Annotated[bool, typer.Option("--list", help="List the rules and look at nothing.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most this many rows of each broken rule.")] = 20,
    timeout: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="End a statement that takes longer than this.")
    ] = 60,
    as_json: AsJson = False,
) -> None:
    """Check the rules about money on the live database. Exit status 1, and the rows, if one is broken.

    Everything is read in one snapshot, so payments go on meanwhile and raise no false alarm. Nothing is written: name a
    stand-by, or a login that may only read, in SLUICE_DATABASE_URL. Exit status 3 if a rule could not be looked at.
    """
    chosen = _chosen(only)
    if list_rules:
        _list(chosen, as_json=as_json)
        return
    report, holdings = run(
        _audit(read_settings(), chosen, deep=deep, with_ledger=ledger, most_rows=limit, statement_s=timeout)
    )
    findings = [*report.findings, *((holdings.agrees, holdings.holds) if holdings else ())]
    if as_json:
        print_json(_as_json(report, holdings, findings))
    else:
        _show(report, holdings, findings)
    if not all(finding.holds for finding in findings):
        raise typer.Exit(1)


def _chosen(names: Sequence[str] | None) -> list[Rule]:
    from shared.audit import RULES

    known = {rule.name: rule for rule in RULES}
    for name in names or ():
        if name not in known:
            raise typer.BadParameter(f"there is no rule {name}: `sluice audit --list` tells which there are")
    return [known[name] for name in dict.fromkeys(names)] if names else list(RULES)


async def _audit(
    settings: Settings, rules: Sequence[Rule], *, deep: bool, with_ledger: bool, most_rows: int, statement_s: float
) -> tuple[Report, Holdings | None]:
    from shared.audit import Audit
    from shared.receiving.acceptance import AcceptanceRules
    from shared.store.audit.reading import snapshot
    from shared.store.audit.rules import Limits
    from shared.store.migrations import schema_is_usable

    accepting = AcceptanceRules.of(settings)
    plan = Audit(
        rules,
        Limits(accepting.limits, accepting.exposure),
        default_network=settings.network,
        deep=deep,
        most_rows=most_rows,
    )
    async with snapshot(settings.database_dsn, statement_s=statement_s) as conn:
        if not await schema_is_usable(conn):
            raise CommandError("the database's schema is not the one of this release: `sluice migrate` brings it there")
        with _bar() as progress:
            report = await plan.run(conn, progress)
            holdings = await _compare(settings, conn, progress, most_rows) if with_ledger else None
    return report, holdings


async def _compare(settings: Settings, conn: Connection, progress: Progress, most_rows: int) -> Holdings:
    from shared.audit.holdings import Comparison
    from shared.obyte.hub_client import HubClient
    from shared.obyte.networks import network_named

    async with HubClient(settings.hub_url, network_named(settings.network), request_timeout_s=_HUB_S) as hub:
        return await Comparison(hub, _differs).run(conn, progress, most_rows=most_rows)


def _differs(stored: StoredChannel, variables: Mapping[str, JsonValue]) -> bool | None:
    from worker.cross_checks import Agreement, compare

    agreement = compare(stored, variables)
    return None if agreement is Agreement.OTHER_EVENT else agreement is Agreement.CONTRADICTION


def _list(rules: Sequence[Rule], *, as_json: bool) -> None:
    if as_json:
        print_json([{"name": rule.name, "about": rule.about} for rule in rules])
        return
    for rule in rules:
        typer.echo(f"{rule.name}\n    {rule.about}")


def _as_json(report: Report, holdings: Holdings | None, findings: Sequence[Finding]) -> dict[str, object]:
    told: dict[str, object] = {
        "holds": all(finding.holds for finding in findings),
        "rules": [
            {
                "name": finding.name,
                "about": finding.about,
                "holds": finding.holds,
                "rows": finding.rows,
                "more_rows": finding.is_cut,
            }
            for finding in findings
        ],
        "rows_read": report.rows_read,
        "signatures_verified": report.signatures,
    }
    if holdings is not None:
        told["agents"] = {
            "channels": holdings.channels,
            "compared": holdings.compared,
            "unanswered": holdings.unanswered,
        }
    return told


def _show(report: Report, holdings: Holdings | None, findings: Sequence[Finding]) -> None:
    broken = [finding for finding in findings if not finding.holds]
    for finding in broken:
        typer.echo(f"{typer.style('broken', fg=typer.colors.RED)}  {finding.name}\n{finding.about}")
        columns = list(finding.rows[0])
        print_table(columns, [[row[name] for name in columns] for row in finding.rows], empty="")
        if finding.is_cut:
            typer.echo("and more: --limit shows them")
        typer.echo()
    if not broken:
        typer.echo(f"{typer.style('ok', fg=typer.colors.GREEN)}  all {len(findings)} rules hold")
    else:
        typer.echo(f"{len(broken)} of {len(findings)} rules are broken")
    read = ", ".join(f"{number:,} {what}" for what, number in report.rows_read.items())
    typer.echo(f"looked at {read or 'everything at once'}; verified {report.signatures:,} signatures")
    if holdings is not None:
        typer.echo(
            f"compared {holdings.compared:,} of {holdings.channels:,} channels with their agents; "
            f"{holdings.unanswered:,} the hub did not answer about, the others have news"
        )


@contextmanager
def _bar() -> Iterator[Progress]:
    """Show how far the audit has come, a line for each part of it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    columns = (TextColumn("{task.description:<22}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bars = Bars(*columns, console=console, transient=True, disable=not console.is_terminal)
    lines: dict[str, TaskID] = {}

    class Lines:
        def walked(self, what: str, done: int, total: int) -> None:
            if what not in lines:
                lines[what] = bars.add_task(what)
            bars.update(lines[what], completed=done, total=max(done, total))

    with bars:
        yield Lines()
