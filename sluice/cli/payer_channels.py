"""The payer's side of `sluice channels …`."""

from __future__ import annotations

import dataclasses
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer

from sluice.cli.common import CommandError, UsageError, open_payer, read_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.channels.model import Channel
    from sluice.payer import Payer

CONNECT_S = 30
CATCH_UP_S = 5
FEES = 100_000
"""Bytes that the units of a channel's life cost at most, generously."""


async def payer_channels() -> list[dict[str, Any]]:
    """Return all channels we pay through, newest first."""
    async with open_payer(read_settings()) as payer:
        await _catch_up(payer)
        return [_fields(payer, channel.aa_address) for channel in reversed(payer.channels())]


async def payer_channel(aa_address: str) -> dict[str, Any]:
    """Return one. Raises UnknownChannelError."""
    async with open_payer(read_settings()) as payer:
        await _catch_up(payer)
        return _fields(payer, aa_address)


async def close_as_payer(aa_address: str, wait_s: float) -> dict[str, Any]:
    """Order the closing and, with a time to wait, follow it until the money is back. Raises PayerError."""
    async with open_payer(read_settings()) as payer:
        await payer.wait_connected(CONNECT_S)
        await payer.close(aa_address)
        return dataclasses.asdict(await payer.settle(aa_address, wait_s)) if wait_s else _fields(payer, aa_address)


def public_fields(channel: Channel) -> dict[str, Any]:
    """Return a channel's state without the claim, which is a bearer secret.

    Added is what its peer could take, and from when on the one who closes it can end it alone.
    """
    from shared.channels.exposure import at_risk

    fields = dataclasses.asdict(channel)
    del fields["claim"]
    started_s = channel.close_started_at_s
    ends_at = None if started_s is None else datetime.fromtimestamp(started_s + channel.timeout_s, UTC)
    return {**fields, "status": channel.status.value, "at_risk": at_risk(channel), "timeout_ends_at": ends_at}


async def _catch_up(payer: Payer) -> None:
    from sluice.payer.errors import LedgerError

    try:
        await payer.wait_connected(CATCH_UP_S)
    except LedgerError as error:
        typer.echo(f"as last seen: {error}", err=True)


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants of a channel; None leaves it to the settings, the versions that both know, or chance."""

    asset: str
    version: str | None
    closing_timeout_s: int | None
    salt: str | None


async def open_as_payer(url: str, amount: int, wish: Wish, *, wait_s: float | None) -> dict[str, Any]:
    """Open a channel and, with a time to wait, follow it until the deposit is stable.

    Raises CommandError, PayerError.
    """
    from shared.obyte.agents import AGENT_VERSIONS

    if wish.version is not None and wish.version not in AGENT_VERSIONS:
        raise UsageError(f"there is no channels agent of version {wish.version}: take {' or '.join(AGENT_VERSIONS)}")
    settings = read_settings()
    versions = settings.agent_versions if wish.version is None else (wish.version,)
    timeout_s = wish.closing_timeout_s or settings.default_channel_timeout_s
    async with open_payer(settings) as payer:
        await payer.wait_connected(CONNECT_S)
        with _saying_where_to_send_funds(payer, settings.network, amount, wish.asset):
            channel = await payer.open_channel(
                url, amount, asset=wish.asset, timeout_s=timeout_s, salt=wish.salt, versions=versions
            )
        if wait_s is not None:
            typer.echo(f"channel {channel.aa_address} opens; waiting for the deposit to become stable", err=True)
            await channel.wait_open(wait_s)
        return _fields(payer, channel.aa_address)


async def deposit_as_payer(aa_address: str, amount: int) -> dict[str, Any]:
    """Add to our deposit; it counts for the peer when it is stable. Raises CommandError, PayerError."""
    settings = read_settings()
    async with open_payer(settings) as payer:
        await payer.wait_connected(CONNECT_S)
        with _saying_where_to_send_funds(payer, settings.network, amount, payer.state(aa_address).asset):
            await payer.deposit(aa_address, amount)
        return {**_fields(payer, aa_address), "on_its_way": amount}


@contextmanager
def _saying_where_to_send_funds(payer: Payer, network: str, amount: int, asset: str) -> Iterator[None]:
    """Add to an error about missing funds what to do about it."""
    from shared.obyte.coins import BASE
    from shared.obyte.errors import CompositionError

    try:
        yield
    except CompositionError as error:
        if error.code != "not_enough_funds":
            raise
        advice = f"send funds to {payer.address}"
        if network == "devnet" and asset == BASE:  # the faucet gives nothing else
            advice += f", here with `sluice devnet fund {payer.address} {amount + FEES}`"
        raise CommandError(f"{error}; {advice}") from error


def _fields(payer: Payer, aa_address: str) -> dict[str, Any]:
    return {**public_fields(payer.state(aa_address)), "peer_url": payer.peer_url(aa_address)}
