"""`sluice keys …`: API keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from shared.store.api_keys import Scope
from sluice.cli.common import AsJson, CommandError, group, open_database, print_json, print_table, read_settings, run

if TYPE_CHECKING:
    from shared.store.api_keys import ApiKey


def register(app: typer.Typer) -> None:
    """Add the group."""
    commands = group("keys", "API keys. A key is shown once and stored as a hash.")
    commands.command(epilog="Example: sluice keys create --scope receive --name shop")(create)
    commands.command("list", epilog="Example: sluice keys list --json")(list_keys)
    commands.command(epilog="Example: sluice keys revoke 3")(revoke)
    app.add_typer(commands)


def create(
    scope: Annotated[list[Scope], typer.Option(help="What the holder may do; may be given several times.")],
    name: Annotated[str, typer.Option(help="Who holds it, for the list.")] = "unnamed",
    as_json: AsJson = False,
) -> None:
    """Make a key and print it. It cannot be shown again."""
    token, key = run(_create(name, scope))
    if as_json:
        print_json({"key": token, **_fields(key)})
    else:
        typer.echo(token)
        typer.echo(f"key {key.id} with scope {', '.join(sorted(key.scopes))}; it is not shown again", err=True)


def list_keys(as_json: AsJson = False) -> None:
    """List all keys, revoked ones too."""
    found = run(_every())
    if as_json:
        print_json([_fields(key) for key in found])
        return
    print_table(
        ["id", "name", "scopes", "created", "last used", "revoked"],
        [
            (str(key.id), key.name, ", ".join(sorted(key.scopes)), key.created_at, key.last_used_at, key.revoked_at)
            for key in found
        ],
        empty="There are no API keys.",
    )


def revoke(key_id: Annotated[int, typer.Argument(metavar="ID", help="The number in `sluice keys list`.")]) -> None:
    """End a key's life, for good. Fronts that have just seen it refuse it within ten seconds."""
    if not run(_revoke(key_id)):
        raise CommandError(f"there is no key {key_id}, or it was revoked already")
    typer.echo(f"key {key_id} is revoked")


async def _create(name: str, scopes: list[Scope]) -> tuple[str, ApiKey]:
    from shared.store import api_keys

    async with open_database(read_settings()) as database, database.transaction() as conn:
        return await api_keys.create(conn, name, scopes)


async def _every() -> list[ApiKey]:
    from shared.store import api_keys

    async with open_database(read_settings()) as database, database.connection() as conn:
        return await api_keys.every(conn)


async def _revoke(key_id: int) -> bool:
    from shared.store import api_keys

    async with open_database(read_settings()) as database, database.transaction() as conn:
        return await api_keys.revoke(conn, key_id)


def _fields(key: ApiKey) -> dict[str, object]:
    return {
        "id": key.id,
        "name": key.name,
        "scopes": sorted(key.scopes),
        "created_at": key.created_at,
        "last_used_at": key.last_used_at,
        "revoked_at": key.revoked_at,
    }
