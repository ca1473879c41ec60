"""`sluice wallet order-providers`: whom the proofs of the ledger are checked by, and a person's word to change that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sluice.cli.common import AsJson, CommandError, open_database, print_json, print_table, read_settings, run

if TYPE_CHECKING:
    from shared.settings import Settings

_TIMEOUT_S = 10.0
_WARNING = (
    "Whoever controls a majority of these addresses can make this receiver believe anything about the ledger. "
    "Compare them with what the network's explorers show."
)

Accept = Annotated[bool, typer.Option("--accept", help="Trust the list that the hubs say the network has voted for.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def order_providers(accept: Accept = False, yes: Yes = False, as_json: AsJson = False) -> None:
    """Show the pinned order providers, and who is named by every hub's account of the votes.

    The worker takes an accepted list up when it connects the next time, within a minute and without a restart.
    """
    settings = read_settings()
    pinned, named = run(_look(settings))
    if accept:
        accepted = _accept(settings, pinned, named, yes=yes, as_json=as_json)
        if as_json:
            print_json({"pinned": accepted, "hubs": named})
        return
    if as_json:
        print_json({"pinned": pinned, "hubs": named})
        return
    everyone = sorted({*pinned, *(address for said in named.values() for address in said)})
    rows = [
        (
            address,
            "yes" if address in pinned else "no",
            *(None if not said else "yes" if address in said else "no" for said in named.values()),
        )
        for address in everyone
    ]
    print_table(["order provider", "pinned", *named], rows, empty="Nobody is pinned yet, and no hub can be asked.")


def _accept(
    settings: Settings, pinned: list[str], named: dict[str, list[str]], *, yes: bool, as_json: bool
) -> list[str]:
    """Pin what the hubs name, after asking, and return it. What is said meanwhile is no JSON."""
    from shared.obyte.networks import network_named

    if settings.order_providers:
        raise CommandError("SLUICE_ORDER_PROVIDERS pins the list: change it there")
    lists = {tuple(said) for said in named.values() if said}
    if len(lists) != 1:
        raise CommandError(
            "the hubs name different lists: pin one by hand in SLUICE_ORDER_PROVIDERS" if lists else "no hub answers"
        )
    [accepted] = lists
    network = network_named(settings.network)
    if network.name != "devnet" and len(accepted) != network.order_provider_count:
        raise CommandError(f"{network.name} has {network.order_provider_count} order providers, not {len(accepted)}")
    if list(accepted) == pinned:
        typer.echo("That is what is pinned.", err=as_json)
        return pinned
    for address in sorted({*pinned, *accepted}):
        sign = " " if address in pinned and address in accepted else "+" if address in accepted else "-"
        typer.echo(f"{sign} {address}", err=as_json)
    if not yes:
        typer.confirm(f"{_WARNING}\nTrust them?", abort=True, err=as_json)
    run(_pin(settings, accepted))
    typer.echo(f"{len(accepted)} order providers are pinned.", err=as_json)
    return list(accepted)


async def _look(settings: Settings) -> tuple[list[str], dict[str, list[str]]]:
    """Return the pinned list, and by hub the one that the network has voted for; none from a hub that is away."""
    from shared.obyte.errors import ObyteError
    from shared.obyte.hub_client import HubClient
    from shared.obyte.networks import network_named
    from shared.store import ledger_pins

    async with open_database(settings) as database, database.connection() as conn:
        pinned = (await ledger_pins.read(conn)).order_providers
    named: dict[str, list[str]] = {}
    for url in settings.hub_urls:
        named[url] = []
        try:
            async with HubClient(url, network_named(settings.network), request_timeout_s=_TIMEOUT_S) as hub:
                named[url] = list((await hub.get_system_variables()).order_providers())
        except ObyteError as error:
            typer.echo(f"{url}: {error}", err=True)
    return list(settings.order_providers or pinned), named


async def _pin(settings: Settings, accepted: tuple[str, ...]) -> None:
    from shared.store import ledger_pins

    async with open_database(settings) as database, database.transaction() as conn:
        if not await ledger_pins.pin(conn, accepted):
            raise CommandError("no worker has run on this database yet: it pins the list of the first hub it asks")
