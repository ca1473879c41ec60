"""`sluice wallet …`: the receiver's keys, and the payer's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sluice.cli.asking import Key, OrderFailedError, Timeout, Wait, ask_worker
from sluice.cli.common import (
    AsJson,
    CommandError,
    OfPayer,
    UsageError,
    group,
    open_database,
    open_payer,
    print_fields,
    print_json,
    print_table,
    read_settings,
    run,
)
from sluice.cli.ledger import order_providers
from sluice.cli.trust import trust_database

if TYPE_CHECKING:
    from shared.obyte.coins import Balance

MnemonicFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Import the seed phrase in this file instead of making a new one.")
]


def register(app: typer.Typer) -> None:
    """Add the group."""
    commands = group("wallet", "The receiver's keys and what they hold.")
    commands.command(epilog="Example: sluice wallet init --mnemonic-file seed.txt")(init)
    commands.command(epilog="Example: sluice wallet address")(address)
    commands.command(epilog="Example: sluice wallet balance --json")(balance)
    commands.command(epilog="Example: sluice wallet history --limit 20")(history)
    commands.command(epilog="Example: sluice wallet send ADDRESS 250000")(send)
    commands.command(epilog="Example: sluice wallet publish-agent --version 1.2")(publish_agent)
    commands.command(epilog="Example: sluice wallet trust-database")(trust_database)
    commands.command(epilog="Example: sluice wallet order-providers --accept")(order_providers)
    app.add_typer(commands)


def init(mnemonic_file: MnemonicFile = None) -> None:
    """Make the wallet file, encrypted with the passphrase file, which is made too if there is none.

    A wallet file is never overwritten. Back up both files, apart from each other.
    """
    from sluice.machine.vault import init_vault

    settings = read_settings()
    mnemonic = None if mnemonic_file is None else _read_phrase(mnemonic_file)
    made = init_vault(settings, mnemonic)
    print_fields(
        {
            "address": made.address,
            "wallet file": settings.wallet_file,
            "passphrase file": settings.wallet_passphrase_file,
        }
    )


def address(payer: OfPayer = False, as_json: AsJson = False) -> None:
    """Print the payment address."""
    found = run(_payer_address()) if payer else _address()
    if as_json:
        print_json({"address": found})
    else:
        typer.echo(found)


def balance(payer: OfPayer = False, as_json: AsJson = False) -> None:
    """Show what the wallet holds on the ledger, in each asset's smallest unit.

    `reserve` is the part of it that only settling and defending channels may use; `at stake` is not in the wallet but
    in channels: what they would pay us if all of them were closed now.
    """
    found = run(_payer_balances() if payer else _balances())
    if as_json:
        print_json(found)
        return
    columns = list(next(iter(found.values())))
    rows = [(asset, *held.values()) for asset, held in found.items()]
    print_table(["asset", *(name.replace("_", " ") for name in columns)], rows, empty="nothing")


def history(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most this many.")] = 50, as_json: AsJson = False
) -> None:
    """List the units that the worker has made, newest first: what for, what became of them, what they cost."""
    found = run(_history(limit))
    if as_json:
        print_json(found)
        return
    columns = ["made", "purpose", "channel", "period", "reference", "state", "fees", "unit", "error"]
    print_table(columns, [tuple(unit[name] for name in columns) for unit in found], empty="No unit was made yet.")


def send(  # noqa: PLR0913, PLR0917 (each is an option of the command)
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="Who is paid.")],
    amount: Annotated[
        int | None, typer.Argument(min=1, metavar="AMOUNT", help="How much, in the asset's smallest unit.")
    ] = None,
    asset: Annotated[str, typer.Option(metavar="ASSET", help='"base" or the 44 characters of an asset.')] = "base",
    send_all: Annotated[bool, typer.Option("--all", help="Everything but the reserve.")] = False,
    to_agent: Annotated[bool, typer.Option("--to-agent", help="The payee may be an autonomous agent.")] = False,
    key: Key = None,
    wait: Wait = True,
    timeout: Timeout = 60,
    as_json: AsJson = False,
) -> None:
    """Pay out of the receiver's wallet, all but the reserve. The worker does it, once, whatever happens to it."""
    from shared.orders import Withdraw

    if (amount is None) != send_all:
        raise UsageError("say how much: an amount, or --all")
    _check_address(address)
    params = {"address": address, "amount": amount or "all", "asset": asset, "to_agent": to_agent}
    _tell(run(ask_worker(Withdraw, params, key=key, wait_s=timeout if wait else 0)), as_json)


def publish_agent(
    version: Annotated[str, typer.Option(metavar="VERSION", help="Of the agent.")] = "1.2",
    wait: Wait = True,
    timeout: Timeout = 60,
    as_json: AsJson = False,
) -> None:
    """Put the channels agent that we have repaired on this network, so that channels can use it.

    Needed once per network, by anybody: where it is there already, nothing is done. It costs the fees of a unit of
    about 6 000 bytes. Channels can use it when the unit is stable and the worker has noticed, within a minute or so.
    """
    _tell(run(_publish_agent(version, timeout if wait else 0)), as_json)


def _address() -> str:
    from sluice.machine.vault import open_vault

    return open_vault(read_settings()).address


async def _payer_address() -> str:
    async with open_payer(read_settings()) as payer:
        return payer.address


async def _balances() -> dict[str, dict[str, int]]:
    from shared.obyte.coins import BASE, Balance
    from shared.store import instance, wallet_units
    from sluice.machine.vault import vault_balances

    settings = read_settings()
    async with open_database(settings) as database, database.transaction() as conn:
        here = await instance.read(conn)
        if here is None:
            raise CommandError("no worker has run on this database yet: start `sluice worker`")
        held = await vault_balances(conn, here.own_address)
        at_stake = await wallet_units.held_in_channels(conn)
    return {
        asset: {
            **_amounts(held.get(asset, Balance(0, 0))),
            "reserve": settings.wallet_reserve if asset == BASE else 0,
            "at_stake": at_stake.get(asset, 0),
        }
        for asset in dict.fromkeys((*held, *at_stake))
    }


async def _payer_balances() -> dict[str, dict[str, int]]:
    async with open_payer(read_settings()) as payer:
        return {"base": _amounts(await payer.balance())}


def _amounts(held: Balance) -> dict[str, int]:
    return {"stable": held.stable, "pending": held.pending}


async def _publish_agent(version: str, wait_s: float) -> dict[str, Any]:
    from shared.orders import PublishAgent
    from shared.store import journal

    try:
        told = await ask_worker(PublishAgent, {"version": version}, wait_s=wait_s)
    except OrderFailedError as error:
        if not str(error).startswith("already_published: "):
            raise
        # What was asked for is so: scripts may ask on every start.
        return {"state": "already_published", "reason": str(error).partition(": ")[2]}
    if "unit" in told:
        async with open_database(read_settings()) as database, database.connection() as conn:
            entry = await journal.get(conn, told["unit"])
        told["fees"] = None if entry is None else _fees(entry.joint["unit"])
    return told


async def _history(limit: int) -> list[dict[str, Any]]:
    from shared.store import journal

    async with open_database(read_settings()) as database, database.connection() as conn:
        entries = await journal.page(conn, limit=limit)
    return [
        {
            "made": entry.created_at,
            "purpose": entry.purpose,
            "channel": entry.aa_address,
            "period": entry.period,
            "reference": entry.reference or None,
            "state": entry.state.value,
            "fees": _fees(entry.joint["unit"]),
            "unit": entry.unit,
            "error": entry.error,
        }
        for entry in entries
    ]


def _fees(unit: Mapping[str, Any]) -> int:
    names = ("headers_commission", "payload_commission", "oversize_fee", "tps_fee")
    return sum(unit.get(name, 0) for name in names)


def _check_address(address: str) -> None:
    from shared.obyte.chash import is_valid_address

    if not is_valid_address(address):
        raise UsageError(f"{address} is no address: it has a typing error or is of another network's kind")


def _tell(fields: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(fields)
    else:
        print_fields(fields)


def _read_phrase(file: Path) -> str:
    phrase = file.read_text(encoding="utf-8").strip()
    if not phrase:
        raise CommandError(f"{file} is empty")
    return phrase
