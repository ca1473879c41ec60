"""How webhooks are named and shown on the command line."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sluice.cli.common import CommandError, print_fields, print_json

if TYPE_CHECKING:
    from shared.store.webhooks import Webhook

WebhookId = Annotated[int, typer.Argument(metavar="ID", help="The number in `sluice webhooks list`.")]


def print_webhook(webhook: Webhook, *, as_json: bool) -> None:
    """Print a webhook, for people or machines."""
    if as_json:
        print_json(fields_of(webhook))
    else:
        types = "all" if webhook.types is None else ", ".join(webhook.types)
        print_fields({name.replace("_", " "): value for name, value in (fields_of(webhook) | {"types": types}).items()})


def fields_of(webhook: Webhook) -> dict[str, Any]:
    """Return what is shown of a webhook."""
    fields = dataclasses.asdict(webhook)
    del fields["position"]
    return fields


def unknown_webhook(webhook_id: int) -> CommandError:
    """Return the error for a number that no webhook has."""
    return CommandError(f"there is no webhook {webhook_id}")
