"""Whose channel a command is about: the receiver's, in its database, or one that the payer's wallet pays through.

On one machine both may have the same channel, from its two ends. Then only the caller can know which end is meant.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from sluice.cli.common import CommandError, UsageError, open_database, open_payer, read_settings

if TYPE_CHECKING:
    from shared.store.channel_rows import StoredChannel

OfSide = Annotated[
    bool | None,
    typer.Option(
        "--payer/--receiver",
        help="Of the wallet we pay with, or of the receiver's; without it whichever has the channel.",
        show_default=False,
    ),
]


class Side(Enum):
    """An end of a channel that is ours."""

    RECEIVER = "receiver"
    PAYER = "payer"


async def side_of(aa_address: str, named: bool | None, *, if_both: Side | None = None) -> Side:
    """Return whose channel is meant; `named` is what the caller said.

    `if_both`: the end that is meant when both are ours and the caller named none. Raises CommandError when there is no
    such channel, or when it could be either.
    """
    if named is not None:
        return Side.PAYER if named else Side.RECEIVER
    is_receivers = await receivers_channel(aa_address) is not None
    if is_receivers and if_both is Side.RECEIVER:
        return Side.RECEIVER
    is_payers = await _is_payers(aa_address)
    if is_receivers and is_payers:
        if if_both is None:
            raise UsageError(
                f"both the receiver and the payer's wallet have channel {aa_address}: say --receiver or --payer"
            )
        return if_both
    if not is_receivers and not is_payers:
        raise CommandError(f"there is no channel {aa_address}, neither the receiver's nor one of the payer's wallet")
    return Side.RECEIVER if is_receivers else Side.PAYER


def refuse_for_payer(**options: object) -> None:
    """Refuse options that only the worker can honour: ignored they would promise what does not happen.

    Raises UsageError, with the name of the first option that has a value.
    """
    for name, value in options.items():
        if value is not None:
            raise UsageError(f"--{name} is for what the worker does: leave it out, or add --receiver")


async def receivers_channel(aa_address: str) -> StoredChannel | None:
    """Return a channel of the receiver's database; None also when no database is set. Raises StoreError."""
    from shared.settings import SettingsError
    from shared.store import channels

    settings = read_settings()
    try:
        _ = settings.database_dsn
    except SettingsError:
        return None
    async with open_database(settings) as database, database.connection() as conn:
        return (await channels.find(conn, [aa_address])).get(aa_address)


async def _is_payers(aa_address: str) -> bool:
    from sluice.machine.vault import payer_home
    from sluice.payer.errors import UnknownChannelError

    settings = read_settings()
    if not (payer_home(settings) / "passphrase").exists():
        return False  # nothing was ever paid from here, and looking would make a wallet
    async with open_payer(settings) as payer:
        try:
            payer.state(aa_address)
        except UnknownChannelError:
            return False
        return True
