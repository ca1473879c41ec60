"""The command: `python -m load_tests.crowd [PROFILE]`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from infra.topology import Topology, free_ports
from load_tests.crowd.profiles import PROFILES, RefusedError, check_bounds, profile_named
from shared.settings import load_settings
from shared.store import api_keys
from shared.store.api_keys import Scope
from shared.store.database import Database, Role
from sluice.cli.up import stop_on_signals
from sluice.machine.progress import Steps
from sluice.machine.supervisor import Stack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.settings import Settings

RESULTS = Path(__file__).parents[1] / "results"
_LOCUSTFILE = Path(__file__).parents[1] / "locustfile.py"
_ENDS_S = 400.0
_OVERRIDES: dict[str, Any] = {
    # Everybody here has the same address, so what is counted by address is not limited.
    "limit_posts_per_address": 0,
    "limit_openings_per_address": 0,
    "limit_payments_per_channel": 0,
    "confirm_closings_from": 0,  # the smallest channel is closed and paid before the run ends
    "log_level": "warning",
}


def main(  # noqa: PLR0913, PLR0917 - a command has options
    profile: Annotated[str, typer.Argument(metavar="PROFILE", help=", ".join(PROFILES))] = "steady",
    users: Annotated[int | None, typer.Option(help="Payers; by default as many as the profile says.")] = None,
    run_time: Annotated[int | None, typer.Option(help="Seconds of payments; by default what the profile says.")] = None,
    spawn_rate: Annotated[float | None, typer.Option(help="New payers per second.")] = None,
    fronts: Annotated[int, typer.Option(min=1, max=16, help="Front processes.")] = 1,
    edge: Annotated[bool, typer.Option("--edge", help="Put nginx before them, as in production.")] = False,  # noqa: FBT002
    ui: Annotated[bool, typer.Option("--ui", help="Start runs from a page, with the plots of locust.")] = False,  # noqa: FBT002
    web_port: Annotated[int, typer.Option(help="Of that page.")] = 8089,
    out: Annotated[Path, typer.Option(help="Where reports go.", file_okay=False)] = RESULTS,
) -> None:
    """Start a receiver with a local ledger, let payers pay through channels of their own, close and compare everything.

    Writes PROFILE.html, PROFILE_stats.csv, PROFILE_stats_history.csv, PROFILE_failures.csv and PROFILE_books.json.

    Exit status: 0; 1 when a request failed; 2 when the run could not begin; 3 when books differ.

    Example: python -m load_tests.crowd burst --users 100 --run-time 120 --fronts 2
    """
    try:
        wanted = profile_named(profile)
        check_bounds(users or wanted.payers, run_time or wanted.seconds, spawn_rate or wanted.spawn_rate)
    except RefusedError as error:
        raise typer.BadParameter(str(error)) from None
    out = out.absolute()
    words = ["--profile", profile, "--csv", str(out / profile), "--html", str(out / f"{profile}.html")]
    words += ["--csv-full-history", *(["--web-port", str(web_port)] if ui else ["--headless"])]
    for name, value in (("--users", users), ("--run-time", run_time), ("--spawn-rate", spawn_rate)):
        words += [] if value is None else [name, str(value)]
    status = asyncio.run(_run(words, fronts, is_edge=edge))
    if status != 2:  # noqa: PLR2004 - nothing was begun
        typer.echo(f"reports: {out / profile}.html, {profile}_*.csv, {profile}_books.json")
    raise typer.Exit(status)


async def _run(words: list[str], fronts: int, *, is_edge: bool) -> int:
    stop_on_signals()
    with tempfile.TemporaryDirectory(prefix="sluice-load-") as temporary:
        os.chmod(temporary, 0o711)  # noqa: S103, PTH101 - the servers' own user passes
        machine = _edge if is_edge else _stack
        async with machine(Path(temporary) / "home", fronts) as (url, settings):
            return await _locust(
                [*words, "--host", url, "--hub", str(settings.hub_url), "--confirmed-from", "0"], await _key(settings)
            )


@asynccontextmanager
async def _stack(home: Path, fronts: int) -> AsyncIterator[tuple[str, Settings]]:
    ports = free_ports()
    settings = load_settings(home=home, port=next(ports), devnet_port=next(ports), **_OVERRIDES)
    async with Stack(settings, fronts=fronts, progress=Steps(Console(highlight=False))) as stack:
        yield stack.url, stack.settings


@asynccontextmanager
async def _edge(home: Path, fronts: int) -> AsyncIterator[tuple[str, Settings]]:
    progress = Steps(Console(highlight=False))
    async with Topology(home, fronts=fronts, workers=1, progress=progress, overrides=_OVERRIDES) as topology:
        yield topology.url, topology.settings


async def _key(settings: Settings) -> str:
    database = await Database.connect(settings.database_dsn, role=Role.WORKER)
    try:
        async with database.transaction() as conn:
            token, _ = await api_keys.create(conn, "load", [Scope.READ], expires_in_s=None)
    finally:
        await database.close()
    return token


async def _locust(words: list[str], key: str) -> int:
    """Run locust on this terminal; when we are told to stop it is asked to, and finishes its books first."""
    environment = {**os.environ, "SLUICE_LOAD_KEY": key}
    command = [sys.executable, "-m", "locust", "-f", str(_LOCUSTFILE), *words]
    # In a session of its own, so that one Ctrl-C reaches it once: the second one would cut its books short.
    process = await asyncio.create_subprocess_exec(
        *command,
        env=environment,
        cwd=_LOCUSTFILE.parents[1],
        stdin=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return await process.wait()
    except asyncio.CancelledError:
        process.send_signal(signal.SIGINT)
        try:
            async with asyncio.timeout(_ENDS_S):
                return await process.wait()
        except TimeoutError:
            process.kill()
            return await process.wait()


if __name__ == "__main__":
    typer.run(main)
