"""`sluice keys …`: API keys."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import typer

from shared.store.api_keys import Scope
from sluice.cli.common import (
    AsJson,
    CommandError,
    UsageError,
    group,
    open_database,
    print_json,
    print_table,
    read_settings,
    run,
)
from sluice.cli.times import seconds

if TYPE_CHECKING:
    from shared.store.api_keys import ApiKey


def register(app: typer.Typer) -> None:
    """Add the group."""
    commands = group("keys", "API keys. A key is shown once and stored as a hash.")
    commands.command(epilog="Example: sluice keys create --scope receive --name shop --expires 90d")(create)
    commands.command("list", epilog="Example: sluice keys list --json")(list_keys)
    commands.command(epilog="Example: sluice keys rotate 3 --keep 2d")(rotate)
    commands.command(epilog="Example: sluice keys revoke 3")(revoke)
    app.add_typer(commands)


KeyId = Annotated[int, typer.Argument(metavar="ID", help="The number in `sluice keys list`.")]
KeyIds = Annotated[list[int] | None, typer.Argument(metavar="ID", help="Numbers in `sluice keys list`.")]
NEVER = "never"


def _life(text: str) -> float:
    """Read a time, or that there is no end."""
    return math.inf if text.strip() == NEVER else float(seconds(text))


def create(
    scope: Annotated[list[Scope], typer.Option(help="What the holder may do; may be given several times.")],
    name: Annotated[str, typer.Option(help="Who holds it, for the list.")] = "unnamed",
    expires: Annotated[
        float | None,
        typer.Option(metavar="TIME", parser=seconds, help="How long it works: 90d, 12h. Without it, for ever."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it. It cannot be shown again."""
    token, key = run(_create(name, scope, expires))
    _show_new(token, key, as_json=as_json)


def list_keys(as_json: AsJson = False) -> None:
    """List all keys, revoked and expired ones too."""
    found = run(_every())
    if as_json:
        print_json([_fields(key) for key in found])
        return
    print_table(
        ["id", "name", "scopes", "state", "created", "expires", "last used", "from"],
        [
            (
                *(str(key.id), key.name, ", ".join(sorted(key.scopes)), key.state.value),
                *(key.created_at, key.expires_at, key.last_used_at, key.last_used_from),
            )
            for key in found
        ],
        empty="There are no API keys.",
    )


def rotate(
    key_id: KeyId,
    keep: Annotated[
        float, typer.Option(metavar="TIME", parser=seconds, help="How long the old one goes on to work.")
    ] = "1d",  # type: ignore[assignment]  # read as what a person types
    expires: Annotated[
        float | None,
        typer.Option(
            metavar="TIME|never",
            parser=_life,
            help="How long the new one works: 90d, 12h. Without it, as long as the old one was made for.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key in the place of another one and print it: same name, same scopes. The old one ends soon.

    What was ordered with the old one under an Idempotency-Key, and packages signed for it, are shown to the old one
    only: finish those before it ends. The same order sent again with the new one is a new order.
    """
    rotated = run(_rotate(key_id, keep, expires))
    if rotated is None:
        raise CommandError(f"there is no key {key_id}, or it was revoked or has expired already")
    token, new, old = rotated
    _show_new(token, new, as_json=as_json)
    if not as_json:
        typer.echo(f"key {old.id} goes on to work until {old.expires_at:%Y-%m-%d %H:%M} UTC", err=True)
        typer.echo("an order that is sent again with the new key is a new order, under any Idempotency-Key", err=True)


def revoke(
    key_ids: KeyIds = None,
    every_key: Annotated[
        bool, typer.Option("--all", help="Every key there is: when it is not known which ones somebody has.")
    ] = False,
) -> None:
    """End the life of keys, for good and at once: on all fronts, streams and sockets too."""
    if bool(key_ids) == every_key:
        raise UsageError("say which keys: their numbers, or --all")
    revoked, missing = run(_revoke(key_ids or None))
    for key_id in revoked:
        typer.echo(f"key {key_id} is revoked")
    if missing:
        raise CommandError(f"there is no key {missing[0]}, or it was revoked already")


def _show_new(token: str, key: ApiKey, *, as_json: bool) -> None:
    if as_json:
        print_json({"key": token, **_fields(key)})
        return
    typer.echo(token)
    until = "" if key.expires_at is None else f", works until {key.expires_at:%Y-%m-%d %H:%M} UTC"
    typer.echo(f"key {key.id} with scope {', '.join(sorted(key.scopes))}{until}; it is not shown again", err=True)


async def _create(name: str, scopes: list[Scope], expires_in_s: float | None) -> tuple[str, ApiKey]:
    from shared.store import api_keys

    async with open_database(read_settings()) as database, database.transaction() as conn:
        return await api_keys.create(conn, name, scopes, expires_in_s=expires_in_s)


async def _rotate(key_id: int, keep_s: float, expires_in_s: float | None) -> tuple[str, ApiKey, ApiKey] | None:
    from shared.store import api_keys

    async with open_database(read_settings()) as database, database.transaction() as conn:
        return await api_keys.rotate(conn, key_id, old_ends_in_s=keep_s, expires_in_s=expires_in_s)


async def _every() -> list[ApiKey]:
    from shared.store import api_keys

    async with open_database(read_settings()) as database, database.connection() as conn:
        return await api_keys.every(conn)


async def _revoke(key_ids: list[int] | None) -> tuple[list[int], list[int]]:
    """Revoke these keys, or all; return the numbers of those that are revoked now, and of those that were not there."""
    from shared.store import api_keys

    async with open_database(read_settings()) as database, database.transaction() as conn:
        wanted = key_ids or [key.id for key in await api_keys.every(conn) if key.revoked_at is None]
        done = {key_id: await api_keys.revoke(conn, key_id) for key_id in wanted}
    return [key_id for key_id, is_done in done.items() if is_done], [key_id for key_id in done if not done[key_id]]


def _fields(key: ApiKey) -> dict[str, object]:
    return {
        "id": key.id,
        "name": key.name,
        "scopes": sorted(key.scopes),
        "state": key.state.value,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "last_used_at": key.last_used_at,
        "last_used_from": key.last_used_from,
        "revoked_at": key.revoked_at,
        "replaces": key.replaces,
    }
