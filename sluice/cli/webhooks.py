"""`sluice webhooks …`: where events are sent, and what became of each delivery."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Annotated

import typer

from sluice.cli import webhook_deliveries
from sluice.cli.common import (
    AsJson,
    CommandError,
    group,
    open_database,
    print_json,
    print_table,
    read_settings,
    run,
)
from sluice.cli.webhook_output import WebhookId, fields_of, print_webhook, unknown_webhook

if TYPE_CHECKING:
    from shared.store.webhooks import Webhook
    from shared.webhooks.managing import Change, Made

Types = Annotated[
    list[str] | None,
    typer.Option("--type", metavar="EVENT", help="Send events of this name only; may be given several times."),
]


def register(app: typer.Typer) -> None:
    """Add the group."""
    commands = group("webhooks", "Servers that are sent whatever happens, signed and in order.")
    commands.command("list", epilog="Example: sluice webhooks list --json")(list_webhooks)
    commands.command(epilog="Example: sluice webhooks create https://shop.example/sluice --type payment_received")(
        create
    )
    commands.command(epilog="Example: sluice webhooks show 3")(show)
    commands.command(epilog="Example: sluice webhooks change 3 --url https://shop.example/new")(change)
    commands.command(epilog="Example: sluice webhooks pause 3")(pause)
    commands.command(epilog="Example: sluice webhooks resume 3")(resume)
    commands.command(epilog="Example: sluice webhooks rotate 3 --overlap 3600")(rotate)
    webhook_deliveries.register(commands)
    commands.command(epilog="Example: sluice webhooks delete 3 --yes")(delete)
    app.add_typer(commands)


def list_webhooks(as_json: AsJson = False) -> None:
    """List webhooks. Their secrets are never shown again."""
    found = run(_every())
    if as_json:
        print_json([fields_of(webhook) for webhook in found])
        return
    print_table(
        ["id", "url", "types", "state", "pending", "held", "oldest pending", "last success", "failing since"],
        [
            (
                str(webhook.id),
                webhook.url,
                "all" if webhook.types is None else ", ".join(webhook.types),
                webhook.state if webhook.reason is None else f"{webhook.state} ({webhook.reason})",
                webhook.pending,
                webhook.held_channels,
                webhook.oldest_pending_at,
                webhook.last_success_at,
                webhook.failing_since,
            )
            for webhook in found
        ],
        empty="There are no webhooks.",
    )


def create(
    url: Annotated[str, typer.Argument(help="Where events are posted to.")],
    types: Types = None,
    description: Annotated[str, typer.Option(help="What it is for, in the list.")] = "",
    as_json: AsJson = False,
) -> None:
    """Make a webhook and print its secret, which cannot be shown again. It is sent what happens from now on."""
    _print_made(run(_create(url, types, description)), as_json=as_json)


def show(webhook_id: WebhookId, as_json: AsJson = False) -> None:
    """Show a webhook as it stands."""
    print_webhook(run(_show(webhook_id)), as_json=as_json)


def change(
    webhook_id: WebhookId,
    url: Annotated[str | None, typer.Option(help="Post to this URL from now on.")] = None,
    description: Annotated[str | None, typer.Option(help="What it is for, in the list.")] = None,
    types: Types = None,
    all_types: Annotated[bool, typer.Option("--all-types", help="Send all events again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Change a webhook; what is not named stays. What waits is sent to a new URL at once."""
    from shared.webhooks.managing import Change

    if url is not None:
        _check_url(url)
    wanted = Change(url=url, description=description, types=_known(types), all_types=all_types)
    print_webhook(run(_change(webhook_id, wanted)), as_json=as_json)


def pause(webhook_id: WebhookId, as_json: AsJson = False) -> None:
    """Send nothing for now. What happens meanwhile is sent after `resume`, as far as events are kept."""
    from shared.webhooks.managing import Change

    print_webhook(run(_change(webhook_id, Change(paused=True))), as_json=as_json)


def resume(webhook_id: WebhookId, as_json: AsJson = False) -> None:
    """Send again, also when the webhook was disabled. What has waited goes first."""
    from shared.webhooks.managing import Change

    print_webhook(run(_change(webhook_id, Change(paused=False))), as_json=as_json)


def rotate(
    webhook_id: WebhookId,
    overlap: Annotated[
        int, typer.Option(min=0, max=604_800, metavar="SECONDS", help="How long the old secret signs, too.")
    ] = 86_400,
    end_previous: Annotated[
        bool, typer.Option("--end-previous", help="Even if the secret before is still valid: it ends now.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Replace the secret and print the new one, which cannot be shown again. Both sign for a while."""
    _print_made(run(_rotate(webhook_id, overlap, ends_previous=end_previous)), as_json=as_json)


def delete(
    webhook_id: WebhookId,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask first.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete a webhook with the record of its deliveries. What waits is not sent any more."""
    if not yes:
        typer.confirm(f"Delete webhook {webhook_id}?", abort=True)
    if not run(_delete(webhook_id)):
        raise unknown_webhook(webhook_id)
    if as_json:
        print_json({"id": webhook_id, "deleted": True})
    else:
        typer.echo(f"webhook {webhook_id} is deleted")


# --------------------------------------------------------------------------------------------------------- the database


async def _every() -> list[Webhook]:
    from shared.store import webhooks

    async with open_database(read_settings()) as database, database.connection() as conn:
        return await webhooks.page(conn)


async def _create(url: str, types: list[str] | None, description: str) -> Made:
    from shared.webhooks import managing

    _check_url(url)
    if len(description) > managing.MAX_DESCRIPTION:
        raise CommandError(f"a description has up to {managing.MAX_DESCRIPTION} characters")
    wanted = _known(types)
    wish = managing.Wish(url, description, None if wanted is None else tuple(wanted))
    settings = read_settings()
    async with open_database(settings) as database:
        return await managing.make(database, wish, at_most=settings.max_webhooks, random_bytes=secrets.token_bytes)


async def _show(webhook_id: int) -> Webhook:
    from shared.store import webhooks

    async with open_database(read_settings()) as database, database.connection() as conn:
        found = await webhooks.find(conn, webhook_id)
    if found is None:
        raise unknown_webhook(webhook_id)
    return found


async def _change(webhook_id: int, wanted: Change) -> Webhook:
    from shared.webhooks import managing

    async with open_database(read_settings()) as database, database.transaction() as conn:
        return await managing.change(conn, webhook_id, wanted)


async def _rotate(webhook_id: int, overlap_s: int, *, ends_previous: bool) -> Made:
    from shared.webhooks import managing

    async with open_database(read_settings()) as database, database.transaction() as conn:
        return await managing.rotate(
            conn, webhook_id, overlap_s=overlap_s, ends_previous=ends_previous, random_bytes=secrets.token_bytes
        )


async def _delete(webhook_id: int) -> bool:
    from shared.store import webhooks

    async with open_database(read_settings()) as database, database.transaction() as conn:
        return await webhooks.delete(conn, webhook_id)


# ------------------------------------------------------------------------------------------------------------- showing


def _print_made(made: Made, *, as_json: bool) -> None:
    secret = None if made.secret is None else made.secret.text
    if as_json:
        print_json({**fields_of(made.webhook), "secret": secret})
        return
    typer.echo(secret)
    typer.echo(f"the secret of webhook {made.webhook.id}, {made.webhook.url}; it is not shown again", err=True)


def _known(types: list[str] | None) -> list[str] | None:
    """Return the names of events, each once. Raises CommandError for one that there is not."""
    from shared.store.events import EventKind

    unknown = sorted(set(types or ()) - set(EventKind))
    if unknown:
        raise CommandError(f"there is no event {unknown[0]}: docs/events.md lists them")
    return list(dict.fromkeys(types)) if types else None


def _check_url(url: str) -> None:
    from shared.webhooks.addresses import AddressGuard
    from shared.webhooks.errors import InvalidUrlError

    try:
        AddressGuard(read_settings().webhook_allowed_networks).read(url)
    except InvalidUrlError as error:
        raise CommandError(f"the URL {error}") from None
