"""`sluice devnet`: the local ledger and its faucet."""

from __future__ import annotations

from typing import Annotated

import typer

from sluice.cli.common import AsJson, Commands, print_fields, print_json, read_settings, run


def register(app: typer.Typer) -> None:
    """Add the group, which is a command too."""
    commands = typer.Typer(
        name="devnet",
        cls=Commands,
        invoke_without_command=True,
        callback=devnet,
        epilog="Example: sluice devnet --port 6611",
        pretty_exceptions_enable=False,
    )
    commands.command(epilog="Example: sluice devnet fund ADDRESS 1000000")(fund)
    app.add_typer(commands)


def devnet(
    context: typer.Context,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port; SLUICE_DEVNET_PORT by default.")] = None,
    stabilise_after: Annotated[
        float, typer.Option(min=0, max=86_400, help="Seconds until what was posted is stable.")
    ] = 1.0,
    publish_agent: Annotated[
        bool, typer.Option(help="Publish the channels agent 1.2 at the start, so that channels can use it.")
    ] = True,
) -> None:
    """Run a local ledger on loopback: a hub, an order provider, a faucet and the payment channel agents.

    It is kept in memory: when the command ends, the ledger and all that was on it are gone.

    Tests make the hub and the ledger misbehave by private requests on the hub's socket: conflicts, forgeries, lost
    answers, dying connections, fees that jump, time that passes. `python -m devnet --help` lists them. One of them,
    devnet/skip_time with agents_only false, stops every honest client until its own clock has caught up.
    """
    if context.invoked_subcommand is not None:
        return
    from devnet.__main__ import main

    settings = read_settings(attach=False)
    words = ["--port", str(port or settings.devnet_port), "--stabilise-after", str(stabilise_after)]
    words += ["--publish-agent", "1.2"] if publish_agent else []
    raise typer.Exit(main(words))


def fund(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="Whom to give the money.")],
    amount: Annotated[int, typer.Argument(metavar="AMOUNT", min=1, help="Bytes.")],
    as_json: AsJson = False,
) -> None:
    """Give an address money on the local ledger."""
    unit = run(_fund(address, amount))
    if as_json:
        print_json({"address": address, "amount": amount, "unit": unit})
    else:
        print_fields({"address": address, "amount": amount, "unit": unit})


async def _fund(address: str, amount: int) -> str:
    from shared.obyte.hub_client import HubClient
    from shared.obyte.networks import DEVNET

    async with HubClient(read_settings().hub_url, DEVNET, request_timeout_s=10) as hub:
        answer = await hub.request("devnet/fund", {"address": address, "amount": amount})
    return str(answer["unit"]) if isinstance(answer, dict) else ""
