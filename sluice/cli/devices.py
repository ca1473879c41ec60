"""`sluice devices …`: who reaches the receiver by encrypted device messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sluice.cli.common import (
    AsJson,
    CommandError,
    group,
    open_database,
    print_fields,
    print_json,
    print_table,
    read_settings,
    run,
    shown,
)

if TYPE_CHECKING:
    from shared.obyte.pairing import PairingCode
    from shared.settings import Settings
    from shared.store.correspondents import Correspondent


def register(app: typer.Typer) -> None:
    """Add the group."""
    commands = group("devices", "Peers' devices: they reach the receiver by encrypted messages, paired with it first.")
    commands.command("pairing-code", epilog="Example: sluice devices pairing-code --one-time")(pairing_code)
    commands.command("list", epilog="Example: sluice devices list --json")(list_devices)
    commands.command(epilog="Example: sluice devices forget DEVICE")(forget)
    app.add_typer(commands)


def pairing_code(
    one_time: Annotated[
        bool,
        typer.Option(
            "--one-time",
            help="A code that pairs one device, within a month; the default without a secret in the settings.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print a code that a peer pairs with. Whoever has it may open channels with the receiver."""
    settings = read_settings()
    code, works_once = run(_make_code(settings, one_time=one_time))
    if as_json:
        print_json(
            {
                "pairing_code": str(code),
                "device_address": code.device_address,
                "hub": code.hub,
                "one_time": works_once,
            }
        )
        return
    typer.echo(str(code))
    use = "works once, within a month" if works_once else "works for everyone who has it"
    typer.echo(f"it {use}; our device is {code.device_address}", err=True)


def list_devices(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most this many.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List the devices that are paired with the receiver, newest first."""
    found = run(_page(limit))
    if as_json:
        print_json(found)
        return
    print_table(
        ["device", "name", "hub", "confirmed", "paired", "heard"],
        [
            (item.device_address, item.name, item.hub, shown(item.is_confirmed), item.paired_at, item.heard_at)
            for item in found
        ],
        empty="No device is paired. `sluice devices pairing-code` makes an invitation.",
    )


def forget(device: Annotated[str, typer.Argument(metavar="DEVICE", help="Its device address.")]) -> None:
    """Unpair a device: it may no longer send requests. Its channels stay as they are."""
    if not run(_forget(device)):
        raise CommandError(f"no device {device} is paired")
    print_fields({"forgotten": device})


async def _make_code(settings: Settings, *, one_time: bool) -> tuple[PairingCode, bool]:
    from shared.obyte.pairing import SECRET_LIFETIME_S, PairingCode, new_pairing_secret
    from shared.store import correspondents, device_keys

    async with open_database(settings) as database, database.transaction() as conn:
        own = await device_keys.read(conn)
        if own is None:
            raise CommandError("the receiver is no device yet: start its worker once, with SLUICE_DEVICE_MESSAGES on")
        if settings.pairing_secret is not None and not one_time:
            return PairingCode(own.pubkey, own.hub, settings.pairing_secret.get_secret_value()), False
        secret = new_pairing_secret()
        await correspondents.invite(conn, secret, lifetime_s=SECRET_LIFETIME_S)
    return PairingCode(own.pubkey, own.hub, secret), True


async def _page(limit: int) -> list[Correspondent]:
    from shared.store import correspondents

    async with open_database(read_settings()) as database, database.connection() as conn:
        return await correspondents.page(conn, limit=limit)


async def _forget(device: str) -> bool:
    from shared.store import correspondents

    async with open_database(read_settings()) as database, database.transaction() as conn:
        return await correspondents.forget(conn, device)
