"""`sluice wallet trust-database`: a person's word that a restored database may be signed on again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sluice.cli.common import CommandError, open_database, read_settings, run

if TYPE_CHECKING:
    from shared.store.database import Connection

_WARNING = (
    "If more was signed than the database knows, closing such a channel lets its peer take all that is in it, and "
    "packages that were credited before are credited again."
)

Channels = Annotated[
    list[str] | None, typer.Argument(metavar="CHANNEL", help="Addresses of channels; all when none is named.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def trust_database(channels: Channels = None, yes: Yes = False) -> None:
    """End the doubt that a restore of the database has left about channels.

    Do this when you know that nothing was signed or accepted after the moment that the database was restored to, or
    have compared the amounts with the peers. Otherwise let the peers close their channels: that needs no trust.
    """
    run(_check(channels or None))
    if not yes:
        typer.confirm(f"{_WARNING}\nGo on?", abort=True)
    trusted = run(_trust(channels or None))
    typer.echo(f"{trusted} {'channel is' if trusted == 1 else 'channels are'} trusted again.")


async def _check(addresses: list[str] | None) -> None:
    """Ask for no word about what is not in doubt. Raises CommandError."""
    async with open_database(read_settings()) as database, database.connection() as conn:
        await _refuse(conn, addresses)


async def _trust(addresses: list[str] | None) -> int:
    from shared.store import instance

    async with open_database(read_settings()) as database, database.transaction() as conn:
        await _refuse(conn, addresses)
        return await instance.trust(conn, addresses)


async def _refuse(conn: Connection, addresses: list[str] | None) -> None:
    from shared.store import channels, instance

    here = await instance.read(conn)
    if here is None or here.restored_at_s is None:
        raise CommandError("nothing is doubted: no restore of this database is known")
    if here.watcher_age_s is None:
        raise CommandError("the worker has not read the ledger since the restore: let it, then look again")
    if addresses is not None:
        known = await channels.find(conn, addresses)
        if unknown := [address for address in addresses if address not in known]:
            raise CommandError(f"there is no channel {unknown[0]}")
