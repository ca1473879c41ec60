"""`sluice wallet …`: the receiver's keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sluice.cli.common import AsJson, CommandError, group, print_fields, print_json, read_settings

MnemonicFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Import the seed phrase in this file instead of making a new one.")
]


def register(app: typer.Typer) -> None:
    """Add the group."""
    commands = group("wallet", "The receiver's keys and what they hold.")
    commands.command(epilog="Example: sluice wallet init --mnemonic-file seed.txt")(init)
    commands.command(epilog="Example: sluice wallet address")(address)
    app.add_typer(commands)


def init(mnemonic_file: MnemonicFile = None) -> None:
    """Make the wallet file, encrypted with the passphrase file, which is made too if there is none.

    A wallet file is never overwritten. Back up both files, apart from each other.
    """
    from sluice.vault import init_vault

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


def address(as_json: AsJson = False) -> None:
    """Print the receiver's payment address."""
    from sluice.vault import open_vault

    found = open_vault(read_settings()).address
    if as_json:
        print_json({"address": found})
    else:
        typer.echo(found)


def _read_phrase(file: Path) -> str:
    phrase = file.read_text(encoding="utf-8").strip()
    if not phrase:
        raise CommandError(f"{file} is empty")
    return phrase
