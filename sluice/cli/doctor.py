"""`sluice doctor`: is everything there, and what to do where it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from sluice.cli.common import AsJson, print_json, read_settings, run, shown

if TYPE_CHECKING:
    from sluice.machine.findings import Finding


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: sluice doctor --json")(doctor)


def doctor(as_json: AsJson = False) -> None:
    """Check every dependency and setting, and say what to do about each fault. Exit status 1 if one fails."""
    from shared.settings import SettingsError
    from sluice.machine.findings import Finding, Verdict

    try:
        findings = run(_examine())
    except SettingsError as error:
        advice = "correct it in the environment or in .env"
        findings = [Finding("settings", Verdict.FAIL, fault, advice) for fault in error.faults]
    if as_json:
        print_json(findings)
    else:
        widest = max(len(finding.check) for finding in findings)
        for finding in findings:
            _print(finding, widest)
    if any(finding.verdict is Verdict.FAIL for finding in findings):
        raise typer.Exit(1)


async def _examine() -> list[Finding]:
    from sluice.machine.checks import examine

    return [finding async for finding in examine(read_settings())]


def _print(finding: Finding, widest: int) -> None:
    colour = {"ok": typer.colors.GREEN, "warn": typer.colors.YELLOW, "fail": typer.colors.RED}[finding.verdict.value]
    verdict = typer.style(f"{finding.verdict.value:<4}", fg=colour)
    typer.echo(f"{verdict}  {finding.check:<{widest}}  {shown(finding.found)}")
    if finding.advice:
        typer.echo(f"{'':<{widest + 8}}-> {finding.advice}")
