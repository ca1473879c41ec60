"""`sluice channels forgive`: a person's word that a peer who has robbed us may go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sluice.cli.common import CommandError, open_database, print_table, read_settings, run

if TYPE_CHECKING:
    from shared.store.database import Connection
    from shared.store.robberies import Robbery

_WARNING = (
    "He can do it again: as much as SLUICE_EXPOSURE_LIMITS allows in each of his channels. What was stolen no longer "
    "counts towards max_total."
)

Channel = Annotated[str, typer.Argument(metavar="CHANNEL", help="The address of a channel of this peer.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def forgive(channel: Channel, yes: Yes = False) -> None:
    """Acknowledge a robbery, and take payments of its peer again.

    A peer is blocked when he has closed a channel and a fraud proof that was not ours then took everything in it:
    nothing is taken from his address in channels of agent 1.1, and what was stolen lowers the asset's `max_total`. Both
    ends here, for all channels of the peer; the worker takes the alarm `robbed` down.
    """
    found = run(_found(channel))
    print_table(
        ("channel", "period", "asset", "stolen", "unit"),
        [(robbery.aa_address, robbery.period, robbery.asset, robbery.amount, robbery.unit) for robbery in found],
        empty="",
    )
    if not yes:
        typer.confirm(f"{_WARNING}\nForgive {found[0].peer_address}?", abort=True)
    run(_forgive(channel))
    typer.echo(f"{found[0].peer_address} is forgiven.")


async def _found(aa_address: str) -> list[Robbery]:
    async with open_database(read_settings()) as database, database.connection() as conn:
        return await _robberies(conn, aa_address)


async def _forgive(aa_address: str) -> None:
    from shared.store import robberies

    async with open_database(read_settings()) as database, database.transaction() as conn:
        [robbery, *_] = await _robberies(conn, aa_address)
        await robberies.forgive(conn, robbery.peer_address)


async def _robberies(conn: Connection, aa_address: str) -> list[Robbery]:
    """Return what the channel's peer is blocked for. Raises CommandError when there is nothing to forgive."""
    from shared.store import channels, robberies

    channel = (await channels.find(conn, [aa_address])).get(aa_address)
    if channel is None:
        raise CommandError(f"there is no channel {aa_address}")
    found = await robberies.unforgiven(conn, channel.channel.peer_address)
    if not found:
        raise CommandError("there is nothing to forgive: the peer of this channel is not blocked")
    return found
