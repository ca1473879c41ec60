"""`sluice channels …`: the receiver's channels, and those that the payer's wallet pays through."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from sluice.cli import payer_channels
from sluice.cli.asking import Key, Timeout, Wait, ask_worker
from sluice.cli.common import (
    AsJson,
    CommandError,
    OfPayer,
    UsageError,
    group,
    open_database,
    print_fields,
    print_json,
    print_table,
    read_settings,
    run,
)
from sluice.cli.forgiving import forgive
from sluice.cli.sides import OfSide, Side, receivers_channel, refuse_for_payer, side_of
from sluice.cli.times import seconds

if TYPE_CHECKING:
    from shared.orders import Order
    from shared.store.channel_rows import StoredChannel

STABLE_S = 600
"""How long a payer waits for a deposit to become stable."""

Address = Annotated[str, typer.Argument(metavar="AA_ADDRESS", help="The channel's address.")]
Amount = Annotated[int, typer.Argument(metavar="AMOUNT", min=1, help="In the asset's smallest unit.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    commands = group("channels", "The receiver's channels, and those we pay through.")
    commands.command("list", epilog="Example: sluice channels list --limit 20")(list_channels)
    commands.command(epilog="Example: sluice channels show AA_ADDRESS --json")(show)
    commands.command("open", epilog="Example: sluice channels open http://127.0.0.1:6800/ 1000000")(open_channel)
    commands.command(epilog="Example: sluice channels deposit AA_ADDRESS 500000")(deposit)
    commands.command(epilog="Example: sluice channels close AA_ADDRESS")(close)
    commands.command(epilog="Example: sluice channels sweep AA_ADDRESS --no-wait")(sweep)
    commands.command(epilog="Example: sluice channels forgive AA_ADDRESS")(forgive)
    commands.command("auto-refill", epilog="Example: sluice channels auto-refill AA_ADDRESS 500000 --below 100000")(
        auto_refill
    )
    app.add_typer(commands)


def list_channels(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most this many.")] = 100,
    payer: OfPayer = False,
    as_json: AsJson = False,
) -> None:
    """List channels, newest first."""
    found = run(payer_channels.payer_channels() if payer else _page())[:limit]
    if as_json:
        print_json(found)
        return
    print_table(
        [
            "channel",
            "peer",
            "asset",
            "agent",
            "status",
            "period",
            "peer deposited",
            "we deposited",
            "received",
            "credit",
            "spent",
            "at risk",
        ],
        [
            (
                *(channel["aa_address"], channel["peer_address"], channel["asset"], channel["version"]),
                *(channel["status"], channel["period"], channel["deposited_by_peer"], channel["deposited_by_me"]),
                *(channel["spent_by_peer"] - channel["credit"], channel["credit"], channel["spent_by_me"]),
                channel["at_risk"],
            )
            for channel in found
        ],
        empty="There are no channels."
        + ("" if payer else " Peers open them; --payer lists those that we pay through."),
    )


def show(aa_address: Address, payer: OfSide = None, as_json: AsJson = False) -> None:
    """Show one channel."""
    _print(run(_show(aa_address, payer)), as_json=as_json)


def open_channel(  # noqa: PLR0913, PLR0917 (each is an option of the command)
    peer: Annotated[
        str, typer.Argument(metavar="PEER", help="The peer's URL; for the receiver also a pairing code or an address.")
    ],
    amount: Annotated[int, typer.Argument(metavar="DEPOSIT", min=1, help="In the asset's smallest unit.")],
    asset: Annotated[str, typer.Option(help="The channel's asset.")] = "base",
    version: Annotated[
        str | None,
        typer.Option(
            metavar="VERSION", help="Of the channels agent; by default the best that both know, for an address 1.1."
        ),
    ] = None,
    closing_timeout: Annotated[
        int | None,
        typer.Option(
            metavar="TIME",
            parser=seconds,
            help="How long who closes it alone has to wait for the other: 1000s, 2h. SLUICE_DEFAULT_CHANNEL_TIMEOUT_S"
            " without it.",
        ),
    ] = None,
    salt: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="1 to 50 characters that make the channel's address; chance without it."),
    ] = None,
    refill: Annotated[
        int | None, typer.Option(metavar="AMOUNT", min=1, help="Deposit this by itself when little is left.")
    ] = None,
    below: Annotated[int | None, typer.Option(metavar="AMOUNT", min=1, help="What counts as little.")] = None,
    payer: OfSide = None,
    key: Key = None,
    wait: Annotated[bool, typer.Option(help="Wait: as receiver for the unit, as payer until it is stable.")] = True,
    timeout: Timeout = STABLE_S,
    as_json: AsJson = False,
) -> None:
    """Open a channel to a peer with a first deposit.

    From the payer's wallet to a URL; with --receiver, and to peers that have no URL, from the receiver's wallet, by the
    worker. The owner of an address cannot be asked which versions of the agent he knows, so he gets 1.1, which
    everybody does; name --version 1.2, the safer one, if he runs Sluice.
    """
    is_payers = payer if payer is not None else "://" in peer
    if (refill is None) != (below is None):
        raise UsageError("--refill and --below go together: deposit this, whenever less than that is left")
    if is_payers:
        refuse_for_payer(key=key)
        if refill is not None:
            raise UsageError("the payer's wallet refills nothing by itself: add --receiver")
        wait_s = timeout if wait else None
        wish = payer_channels.Wish(asset, version, closing_timeout, salt)
        _print(run(payer_channels.open_as_payer(peer, amount, wish, wait_s=wait_s)), as_json=as_json)
        return
    from shared.orders import Open

    params: dict[str, Any] = {"peer": peer, "initial_amount": amount, "asset": asset}
    chosen = {"version": version, "timeout": closing_timeout, "salt": salt}
    params.update({name: value for name, value in chosen.items() if value is not None})
    if refill is not None:
        params["auto_refill"] = {"amount": refill, "threshold": below}
    opened_by_worker = run(ask_worker(Open, params, key=key, wait_s=timeout if wait else 0))
    _print(opened_by_worker, as_json=as_json)
    if version is None and "version" in opened_by_worker:
        typer.echo(_why_this_version(peer, opened_by_worker["version"]), err=True)


def deposit(
    aa_address: Address,
    amount: Amount,
    payer: OfSide = None,
    key: Key = None,
    wait: Wait = True,
    timeout: Timeout = 60,
    as_json: AsJson = False,
) -> None:
    """Add to our deposit in a channel; it counts for the peer when it is stable."""
    from shared.orders import Deposit

    async def work() -> dict[str, Any]:
        if await side_of(aa_address, payer) is Side.PAYER:
            refuse_for_payer(key=key)
            return await payer_channels.deposit_as_payer(aa_address, amount)
        wait_s = timeout if wait else 0
        return await _ask(Deposit, {"amount": amount}, aa_address, key=key, wait_s=wait_s)

    _print(run(work()), as_json=as_json)


def close(
    aa_address: Address,
    wait: Annotated[bool, typer.Option(help="Wait: as receiver for the closing unit, as payer for the money.")] = True,
    timeout: Timeout = 60,
    payer: OfSide = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Close a channel with the best package we hold. Nothing more is accepted or signed in it meanwhile.

    The receiver's auto refill is switched off with it.
    """
    from shared.orders import Close

    async def work() -> dict[str, Any]:
        wait_s = timeout if wait else 0
        if await side_of(aa_address, payer, if_both=Side.RECEIVER) is Side.PAYER:
            refuse_for_payer(key=key)
            return await payer_channels.close_as_payer(aa_address, wait_s)
        return await _ask(Close, {}, aa_address, key=key, wait_s=wait_s)

    _print(run(work()), as_json=as_json)


def sweep(
    aa_address: Address, key: Key = None, wait: Wait = True, timeout: Timeout = 60, as_json: AsJson = False
) -> None:
    """Close the receiver's channel to settle what was earned, and go on with it: auto refill stays as it is."""
    from shared.orders import Sweep

    _print(run(_ask(Sweep, {}, aa_address, key=key, wait_s=timeout if wait else 0)), as_json=as_json)


def auto_refill(
    aa_address: Address,
    amount: Annotated[
        int | None, typer.Argument(metavar="AMOUNT", min=1, help="Deposit this, in the asset's smallest unit.")
    ] = None,
    below: Annotated[
        int | None, typer.Option(metavar="AMOUNT", min=1, help="Whenever less than this is left to spend.")
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="Refill no longer.")] = False,
    key: Key = None,
    wait: Annotated[bool, typer.Option(help="Wait until the worker has taken note.")] = True,
    timeout: Timeout = 60,
    as_json: AsJson = False,
) -> None:
    """Let the worker deposit by itself when little is left to spend in a channel of the receiver's, or no longer."""
    from shared.orders import AutoRefill

    params: dict[str, Any] = {"off": True} if off else {}
    if amount is not None:
        params["amount"] = amount
    if below is not None:
        params["threshold"] = below
    if len(params) != (1 if off else 2):
        raise UsageError("say AMOUNT and --below, or --off")
    _print(run(_ask(AutoRefill, params, aa_address, key=key, wait_s=timeout if wait else 0)), as_json=as_json)


async def _ask(
    order: type[Order], params: dict[str, Any], aa_address: str, *, key: str | None, wait_s: float
) -> dict[str, Any]:
    await _find(aa_address)
    return await ask_worker(order, params, aa_address=aa_address, key=key, wait_s=wait_s)


async def _show(aa_address: str, payer: bool | None) -> dict[str, Any]:
    if await side_of(aa_address, payer, if_both=Side.RECEIVER) is Side.PAYER:
        return await payer_channels.payer_channel(aa_address)
    return await _find(aa_address)


async def _page() -> list[dict[str, Any]]:
    from shared.store import channels

    async with open_database(read_settings()) as database, database.connection() as conn:
        return [_fields(channel) for channel in await channels.page(conn, limit=1000)]


async def _find(aa_address: str) -> dict[str, Any]:
    from shared.store import deposits, refills

    found = await receivers_channel(aa_address)
    if found is None:
        raise CommandError(
            f"there is no channel {aa_address} that we receive through; those we pay through are found with --payer"
        )
    async with open_database(read_settings()) as database, database.connection() as conn:
        refill = await refills.of(conn, aa_address)
        pending = await deposits.pending_amount(conn, aa_address)
    return {
        **_fields(found),
        "deposits_on_their_way": pending,
        "auto_refill_amount": refill and refill.amount,
        "auto_refill_threshold": refill and refill.threshold,
    }


def _print(fields: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(fields)
    else:
        print_fields(fields)


def _why_this_version(peer: str, version: str) -> str:
    from shared.obyte.chash import is_valid_address
    from shared.peers.versions import KNOWN_TO_ALL

    if not is_valid_address(peer):
        return f"The channel is of agent version {version}: the best that is published here and that the peer takes."
    if version != KNOWN_TO_ALL:
        return f"The channel is of agent version {version}, the only one allowed here; its owner may not know it."
    return (
        f"The channel is of agent version {version}: an address cannot be asked, and every owner knows this one. "
        "If the owner runs Sluice, open with --version 1.2, which is safer."
    )


def _fields(stored: StoredChannel) -> dict[str, Any]:
    return {
        **payer_channels.public_fields(stored.channel),
        "status": stored.shown_status,
        "salt": stored.salt,
        "version": stored.version,
        "peer_url": stored.peer_url,
        "created_at": stored.created_at,
        "updated_at": stored.updated_at,
    }
