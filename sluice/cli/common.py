"""What the commands share: settings, errors in one line, tables for people and JSON for machines."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import json
import os
import shutil
import sys
import traceback
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence

    from shared.settings import Settings
    from shared.store.database import Database
    from sluice.payer import Payer

T = TypeVar("T")

GAP = "\N{NARROW NO-BREAK SPACE}"

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
OfPayer = Annotated[bool, typer.Option("--payer", help="Of the wallet we pay with, instead of the receiver's.")]


class CommandError(Exception):
    """A command cannot do what it was asked for; the message is for people."""

    code = "command_failed"
    status = 1
    """Exit status."""


class UsageError(CommandError):
    """What was asked for makes no sense as it was written."""

    code = "wrong_usage"
    status = 2


class OutcomeUnknownError(CommandError):
    """What was asked for may still happen, or have happened: do not simply ask for it again."""

    code = "outcome_unknown"
    status = 3


class Commands(TyperGroup):
    """Turns what goes wrong in a command into one line on stderr and an exit status. Lets help flow to any width."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command, its help without the line ends of our source."""
        command = super().get_command(ctx, cmd_name)
        if command is not None and command.help:
            paragraphs = inspect.cleandoc(command.help).split("\n\n")
            command.help = "\n\n".join(paragraph.replace("\n", " ") for paragraph in paragraphs)
        return command

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, asyncio.CancelledError):
            raise typer.Exit(130) from None
        except BrokenPipeError:
            # Whoever read our output has had enough, as `head` does.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            raise typer.Exit(1) from None
        except Exception as error:
            # Click's own exits and usage errors carry an exit code and are for click.
            if isinstance(error, typer.Abort) or hasattr(error, "exit_code"):
                raise
            typer.echo(f"sluice: {_said(error)}", err=True)
            if os.environ.get("SLUICE_LOG_LEVEL", "").lower() == "debug":
                traceback.print_exception(error)
            raise typer.Exit(_status(error)) from None


def _status(error: Exception) -> int:
    if isinstance(error, CommandError):
        return error.status
    # Errors of the project say so themselves where nobody knows whether something has happened.
    return OutcomeUnknownError.status if getattr(error, "is_outcome_unknown", False) else CommandError.status


def _said(error: Exception) -> str:
    # Errors of the project carry a code and speak to people; any other is a surprise, so it says what it is.
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror.lower()}"
    if hasattr(error, "code") or isinstance(error, OSError):
        return str(error)
    return f"unexpected {type(error).__name__}: {error} (SLUICE_LOG_LEVEL=debug tells more)"


def group(name: str, about: str) -> typer.Typer:
    """Return an empty group of commands."""
    return typer.Typer(name=name, help=about, cls=Commands, no_args_is_help=True, pretty_exceptions_enable=False)


def read_settings(*, attach: bool = True) -> Settings:
    """Return the settings with logging set up; with `attach`, completed by what `sluice up` runs on their home."""
    from shared.logs import configure_logging
    from shared.settings import load_settings
    from sluice.home import attached

    settings = load_settings()
    configure_logging(settings)
    return attached(settings) if attach else settings


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine to its end."""
    return asyncio.run(work)


@asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[Database]:
    """Connect as an operator, with the worker's rights."""
    from shared.store.database import Database, Role

    database = await Database.connect(
        settings.database_dsn,
        role=Role.WORKER,
        application_name="sluice-cli",
        behind_transaction_pooler=settings.database_pooler,
    )
    try:
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def open_payer(settings: Settings) -> AsyncIterator[Payer]:
    """Open the wallet that this home pays with, made when first used."""
    from sluice.machine.vault import make_passphrase, payer_home, read_passphrase
    from sluice.payer import Payer

    home = payer_home(settings)
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    passphrase_file = home / "passphrase"
    if not passphrase_file.exists():
        make_passphrase(passphrase_file)
    passphrase = read_passphrase(passphrase_file)
    async with Payer.open(home, hub_url=settings.hub_url, network=settings.network, passphrase=passphrase) as payer:
        yield payer


def print_json(value: Any) -> None:
    """Print a value as JSON: dataclasses as objects, times as ISO 8601, sets as lists."""
    typer.echo(json.dumps(value, default=_plain, indent=2, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Print rows for people; `empty` is said when there are none. Numbers are flush right, three digits to a group.

    In a terminal that is narrower than the table each row becomes a block of lines, as nobody can read a wrapped table.
    """
    from rich.console import Console
    from rich.table import Table

    rows = list(rows)
    if not rows:
        typer.echo(empty)
        return
    cells = [[f"{cell:_}".replace("_", GAP) if isinstance(cell, int) else shown(cell) for cell in row] for row in rows]
    if (columns_there_are := _terminal_columns()) is not None and _table_width(columns, cells) > columns_there_are:
        typer.echo("\n\n".join(_block(columns, row) for row in cells))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, name in enumerate(columns):
        is_number = all(isinstance(row[number], int) for row in rows)
        # An address must survive copy and paste: columns are never cut or wrapped, long lines may be. Rich does not
        # justify what may overflow by being ignored; here nothing is long enough to be folded.
        table.add_column(name, justify="right" if is_number else "left", no_wrap=True, overflow="fold")
    for row in cells:
        table.add_row(*row)
    # Wider than any table: whoever reads a file or a pipe gets every line whole.
    Console(width=10_000).print(table, markup=False, highlight=False)


def print_fields(fields: Mapping[str, object]) -> None:
    """Print one thing for people: a line per field."""
    typer.echo(_block(list(fields), [shown(value) for value in fields.values()]))


def _terminal_columns() -> int | None:
    """Return how wide the terminal is, None where stdout is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _table_width(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    between = 2
    return sum(max(map(len, column)) + between for column in zip(columns, *rows, strict=True)) - between


def _block(names: Sequence[str], values: Sequence[str]) -> str:
    widest = max(map(len, names))
    return "\n".join(f"{name:<{widest}}  {value}" for name, value in zip(names, values, strict=True))


def shown(value: object) -> str:
    """Return a value as people read it: times to the second, in UTC; objects and lists as JSON, such as answers."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}Z"
    if isinstance(value, dict | list):
        value = json.dumps(value, default=_plain, ensure_ascii=False)
    # Some texts come from peers: nothing in them may steer the terminal.
    return "".join(character if character.isprintable() else "\ufffd" for character in str(value))


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, set | frozenset):
        return sorted(value)
    return str(value)
