"""`sluice front`, `worker` and `migrate`: one part of the receiver each, as a process of its own."""

from __future__ import annotations

import os
import warnings
from enum import StrEnum
from typing import Annotated, Any

import typer

from sluice.cli.common import AsJson, print_fields, print_json, read_settings


class Phase(StrEnum):
    """Which steps of a migration."""

    ALL = "all"
    PRE = "pre"
    POST = "post"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: sluice front --port 6800 --workers 2")(front)
    app.command(epilog="Example: sluice worker")(worker)
    app.command(epilog="Example: sluice migrate --phase pre")(migrate)


def front(
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port; SLUICE_PORT by default.")] = None,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Serving processes.")] = 1,
    reuse_port: Annotated[bool, typer.Option(help="Share the port with other fronts (SO_REUSEPORT).")] = False,
    rpc: Annotated[bool, typer.Option("--rpc", help="JSON-RPC on loopback without a key, on SLUICE_RPC_PORT.")] = False,
    rpc_port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="The same on this port. Anyone on this machine may spend there."),
    ] = None,
    bind: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS", help="Instead of the port: host:port or unix:/path; or listeners fd://N."),
    ] = None,
) -> None:
    """Serve payments: a stateless front. Needs Postgres; any number may run."""
    from front.rpc.reader_key import read_or_make
    from front.server import FrontServer, gunicorn_options

    settings = read_settings()
    _ = settings.database_dsn  # without one there is no front: say so here, in one line
    host = f"[{settings.bind_host}]" if ":" in settings.bind_host else settings.bind_host
    binds = bind or [f"{host}:{port or settings.port}"]
    local = rpc_port or (settings.rpc_port if rpc else None)
    options = gunicorn_options(settings, binds=binds, workers=workers, reuse_port=reuse_port, local_rpc_port=local)
    if local is not None:
        read_or_make(settings.home)  # what every serving process would fail at
    FrontServer(settings, {**options, "post_fork": _tie_to_arbiter}, local_rpc_port=local).run()


def _tie_to_arbiter(arbiter: Any, _worker: Any) -> None:
    # A serving process without its arbiter would go on by itself, unseen, with nobody to stop it.
    from sluice.machine.launcher import die_with

    die_with(arbiter.pid)


def worker() -> None:
    """Follow the ledger and settle channels. Holds the keys; of several, one is active and the others stand by."""
    from shared.settings import environment

    settings = read_settings()
    _ = settings.database_dsn
    os.environ.update(environment(settings))
    from celery.exceptions import SecurityWarning

    from worker.app import celery_app

    # Its reason is that messages may hold code. Ours are JSON, and say no more than the number of a row.
    warnings.simplefilter("ignore", SecurityWarning)
    words = ["--pool", "solo", "--without-gossip", "--without-mingle", "--loglevel", settings.log_level.upper()]
    if settings.log_format == "json":
        from celery.apps import worker as celery_worker

        from sluice.cli.celery_words import say_as_json

        celery_worker.safe_say = say_as_json  # type: ignore[attr-defined]
    # Quiet about itself: a banner is no line of a log.
    celery_app.worker_main(["--quiet", "worker", *words])


def migrate(
    phase: Annotated[Phase, typer.Option(help="pre: what a new release needs; post: what none needs any more.")] = (
        Phase.ALL
    ),
    as_json: AsJson = False,
) -> None:
    """Bring the database's schema up to date. Safe to run twice, and while an older release serves (--phase pre)."""
    from shared.store.migrations import migrate as run_migrations

    revisions = run_migrations(read_settings().direct_dsn, phase.value)
    found = {"pre": revisions.pre, "post": revisions.post}
    if as_json:
        print_json(found)
    else:
        print_fields(found)
