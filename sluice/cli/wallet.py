"""`sluice wallet …`: the receiver's keys, and the payer's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sluice.cli.common import (
    AsJson,
    CommandError,
    OfPayer,
    group,
    open_database,
    open_payer,
    print_fields,
    print_json,
    print_table,
    read_settings,
    run,
)
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
    commands.command(epilog="Example: sluice wallet trust-database")(trust_database)
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
    """Show what the wallet holds on the ledger, in each asset's smallest unit. Deposits in channels are not part."""
    found = run(_payer_balances() if payer else _balances())
    if as_json:
        print_json({asset: {"stable": held.stable, "pending": held.pending} for asset, held in found.items()})
        return
    rows = [(asset, held.stable, held.pending) for asset, held in found.items()]
    print_table(["asset", "stable", "pending"], rows, empty="nothing")


def _address() -> str:
    from sluice.machine.vault import open_vault

    return open_vault(read_settings()).address


async def _payer_address() -> str:
    async with open_payer(read_settings()) as payer:
        return payer.address


async def _balances() -> Mapping[str, Balance]:
    from shared.store import instance
    from sluice.machine.vault import vault_balances

    async with open_database(read_settings()) as database, database.transaction() as conn:
        here = await instance.read(conn)
        if here is None:
            raise CommandError("no worker has run on this database yet: start `sluice worker`")
        return await vault_balances(conn, here.own_address)


async def _payer_balances() -> Mapping[str, Balance]:
    async with open_payer(read_settings()) as payer:
        return {"base": await payer.balance()}


def _read_phrase(file: Path) -> str:
    phrase = file.read_text(encoding="utf-8").strip()
    if not phrase:
        raise CommandError(f"{file} is empty")
    return phrase
