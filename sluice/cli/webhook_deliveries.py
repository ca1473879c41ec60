"""`sluice webhooks test / deliveries / replay`: what became of deliveries, and sending again."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sluice.cli.common import (
    AsJson,
    CommandError,
    OutcomeUnknownError,
    open_database,
    print_json,
    print_table,
    read_settings,
    run,
)
from sluice.cli.webhook_output import WebhookId, print_webhook, unknown_webhook

if TYPE_CHECKING:
    from shared.store.webhook_deliveries import Attempt, Delivery
    from shared.store.webhooks import Webhook

POLL_S = 0.25


def register(commands: typer.Typer) -> None:
    """Add the commands to those of webhooks."""
    commands.command("test", epilog="Example: sluice webhooks test 3")(send_test)
    commands.command(epilog="Example: sluice webhooks deliveries 3 --state failed")(deliveries)
    commands.command(epilog="Example: sluice webhooks replay 3 --since 2026-01-31T12:00:00")(replay)


def send_test(
    webhook_id: WebhookId,
    timeout: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="Wait at most this long.")] = 30.0,
    as_json: AsJson = False,
) -> None:
    """Send an event `webhook_test` and wait for what the server says. Needs a running worker."""
    message_id, attempt = run(_test(webhook_id, timeout))
    if as_json:
        print_json({"id": message_id, **_plain(attempt)})
    elif attempt.error is None:
        typer.echo(f"{message_id} was taken: {attempt.status} after {attempt.duration_ms} ms")
    if attempt.error is not None:
        said = "no answer" if attempt.status is None else f"{attempt.status} {attempt.excerpt or ''}".strip()
        raise CommandError(f"{message_id} was not taken: {attempt.error}, {said}")


def deliveries(
    webhook_id: WebhookId,
    delivery: Annotated[str | None, typer.Argument(metavar="[DELIVERY]", help="Show the attempts of this one.")] = None,
    state: Annotated[
        str | None, typer.Option(metavar="pending|delivered|failed|given_up", help="Only those in this state.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="At most this many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List deliveries, those of the newest events first; or show the attempts of one."""
    if delivery is not None:
        found, attempts = run(_delivery(webhook_id, delivery))
        if as_json:
            print_json({**_delivery_fields(found), "log": [_plain(attempt) for attempt in attempts]})
            return
        print_table(
            ["at", "ms", "status", "error", "answer"],
            [(entry.at, entry.duration_ms, str(entry.status or "-"), entry.error, entry.excerpt) for entry in attempts],
            empty="There was no attempt yet.",
        )
        return
    listed = run(_deliveries(webhook_id, state, limit))
    if as_json:
        print_json([_delivery_fields(item) for item in listed])
        return
    print_table(
        ["delivery", "event", "channel", "happened", "state", "attempts", "next attempt"],
        [
            (_id_of(item), item.kind, item.aa_address, item.event_at, item.state, item.attempts, item.next_attempt_at)
            for item in listed
        ],
        empty="There are no deliveries.",
    )


def replay(
    webhook_id: WebhookId,
    delivery: Annotated[str | None, typer.Argument(metavar="[DELIVERY]", help="Send this one event again.")] = None,
    since: Annotated[datetime | None, typer.Option(help="Send everything since this time (UTC) again.")] = None,
    after: Annotated[
        str | None, typer.Option(metavar="CURSOR", help="Send everything after this event's id again.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Send events again, under the same ids: one delivery, or everything from some point on that is still kept."""
    if sum(given is not None for given in (delivery, since, after)) != 1:
        raise CommandError("name one delivery, or --since, or --after")
    print_webhook(run(_replay(webhook_id, delivery, since, after)), as_json=as_json)


async def _test(webhook_id: int, timeout_s: float) -> tuple[str, Attempt]:
    from shared.store import webhook_deliveries
    from shared.webhooks import managing

    deadline_s = time.monotonic() + timeout_s
    async with open_database(read_settings()) as database:
        async with database.transaction() as conn:
            message_id = await managing.send_test(conn, webhook_id)
        event_id = int(message_id.rpartition("-")[2])
        while time.monotonic() < deadline_s:
            await asyncio.sleep(POLL_S)
            async with database.connection() as conn:
                attempts = await webhook_deliveries.attempts(conn, webhook_id, event_id)
            if attempts:
                return message_id, attempts[0]
    raise OutcomeUnknownError(f"{message_id} was not sent within {timeout_s:g} s: is a worker running?")


async def _deliveries(webhook_id: int, state: str | None, limit: int) -> list[Delivery]:
    from shared.store import webhook_deliveries, webhooks
    from shared.store.webhook_deliveries import DeliveryState, Filter

    if state is not None and state not in list(DeliveryState):
        raise CommandError(f"there is no state {state}: {', '.join(DeliveryState)}")
    wanted = Filter(None if state is None else DeliveryState(state))
    async with open_database(read_settings()) as database, database.connection() as conn:
        if await webhooks.find(conn, webhook_id) is None:
            raise unknown_webhook(webhook_id)
        return await webhook_deliveries.page(conn, webhook_id, wanted, before=2**63 - 1, limit=limit)


async def _delivery(webhook_id: int, message_id: str) -> tuple[Delivery, list[Attempt]]:
    from shared.store import webhook_deliveries
    from shared.webhooks import managing

    async with open_database(read_settings()) as database, database.connection() as conn:
        found = await managing.delivery_of(conn, webhook_id, message_id)
        return found, list(await webhook_deliveries.attempts(conn, webhook_id, found.event_id))


async def _replay(webhook_id: int, delivery: str | None, since: datetime | None, after: str | None) -> Webhook:
    from shared.webhooks import managing

    moment = None if since is None else since.replace(tzinfo=since.tzinfo or UTC)
    async with open_database(read_settings()) as database, database.transaction() as conn:
        if delivery is None:
            return await managing.send_since(conn, webhook_id, after=after, since=moment)
        return await managing.send_again(conn, webhook_id, delivery)


def _delivery_fields(delivery: Delivery) -> dict[str, Any]:
    return {
        "id": _id_of(delivery),
        "type": delivery.kind,
        "aa_address": delivery.aa_address,
        "event_at": delivery.event_at,
        "state": delivery.state,
        "attempts": delivery.attempts,
        "next_attempt_at": delivery.next_attempt_at,
        "finished_at": delivery.finished_at,
    }


def _id_of(delivery: Delivery) -> str:
    return f"{delivery.stream}-{delivery.event_id}"


def _plain(attempt: Attempt) -> dict[str, Any]:
    return dataclasses.asdict(attempt)
