"""Signed packages and addresses, judged one by one: pure. What is wrong is told in words without the package."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from shared.obyte.agents import channel_address
from shared.obyte.errors import ObyteError
from shared.receiving.errors import PackageRefused
from shared.receiving.verification import verify_payment_package

if TYPE_CHECKING:
    import asyncpg

    from shared.obyte.networks import Network


def package_fault(row: asyncpg.Record, network: Network, *, with_signature: bool) -> str | None:
    """Say in what a stored package differs from the row that it must prove, None if in nothing.

    `row`: aa_address, period, amount_spent, payment_amount (None: any), signer, package. `with_signature`: check that,
    too, which costs the most.
    """
    try:
        package = json.loads(row["package"])
        message = package["signed_message"]
        found = {name: message[name] for name in ("aa_address", "period", "amount_spent", "payment_amount")}
        found["signer"] = package["authors"][0]["address"]
    except (ValueError, TypeError, LookupError):
        return "it is no signed package"
    for name, value in found.items():
        if row[name] is not None and value != row[name]:
            return f"its {name} is {_short(value)}, not {row[name]}"
    if with_signature:
        try:
            verify_payment_package(package, network)
        except PackageRefused as refusal:
            return f"it proves nothing: {refusal.code}"
    return None


def address_fault(row: asyncpg.Record, _: Network, *, with_signature: bool) -> str | None:  # noqa: ARG001
    """Say that a channel's address is not the hash of what its parties agreed on, None if it is."""
    peers = (row["own_address"], row["peer_address"])
    address_a, address_b = peers if row["role"] == "A" else peers[::-1]
    try:
        right = channel_address(address_a, address_b, row["asset"], row["timeout_s"], row["salt"], row["version"])
    except (ObyteError, LookupError, ValueError) as error:
        return f"no address follows from its parameters: {type(error).__name__}"
    return None if right == row["aa_address"] else f"its parameters are those of {right}"


def _short(value: object) -> str:
    return repr(value)[:60]
