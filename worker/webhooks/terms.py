"""What the sending of webhooks needs from outside."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.sealing import Reader
from shared.store.database import Database, Role
from shared.webhooks.addresses import AddressGuard
from shared.webhooks.calling import Limits

if TYPE_CHECKING:
    from shared.obyte.keys import KeyPair
    from shared.settings import Settings
    from shared.webhooks.resolving import Resolver

MAX_CONNECTIONS = 3
"""To the database."""


@dataclass(frozen=True, slots=True)
class WebhookPace:
    """Every interval and limit of sending. Seconds."""

    poll_s: float = 1.0
    """How often it is looked for new events and for deliveries that are due, when no bell rings."""
    gather_s: float = 0.05
    """However much happens, events are looked for this rarely."""
    held_s: float = 0.25
    """How often it is looked whether enough of a held lane was sent to plan it on, if there is one."""
    retry_s: float = 1.0
    """After the database was away."""
    lag_s: float = 15.0
    """Between two looks at how far webhooks are behind."""
    forget_s: float = 600.0
    """Between two looks for what can be forgotten."""
    claim_s: float = 60.0
    """A sender that has not told the outcome by then is believed dead. Longer than a call may take."""
    parallel: int = 128
    """Calls at the same time, to all webhooks; to one that has none under way there is always another."""
    at_once: int = 16
    """Deliveries of one channel that are claimed together, and sent one after the other."""
    limits: Limits = field(default_factory=lambda: Limits(connect_s=5.0, read_s=10.0, total_s=10.0, max_bytes=8_192))


@dataclass(frozen=True, slots=True)
class WebhookTerms:
    """How webhooks are sent. `database`: connections of its own; `guard`: which servers may be called."""

    database: Database
    guard: AddressGuard
    reader: Reader
    """Opens the secrets that messages are signed with."""
    parallel: int = 16
    """Calls to one webhook at the same time: one that is slow leaves room for others."""
    disable_after_s: float = 259_200.0
    retention_s: float = 604_800.0
    pace: WebhookPace = field(default_factory=WebhookPace)


def reader_of(key: KeyPair) -> Reader:
    """Return who opens the secrets: it follows from the wallet's key, so whoever has the wallet can sign."""
    return Reader(b"webhook secrets" + key.private_key)


async def webhook_terms(settings: Settings, key: KeyPair, resolver: Resolver) -> WebhookTerms:
    """Return the terms that the settings name, with connections that the caller closes."""
    database = await Database.connect(
        settings.database_dsn,
        role=Role.WORKER,
        application_name="sluice-worker-webhooks",
        max_connections=MAX_CONNECTIONS,
        behind_transaction_pooler=settings.database_pooler,
    )
    return WebhookTerms(
        database,
        AddressGuard(settings.webhook_allowed_networks, resolver),
        reader_of(key),
        parallel=settings.webhook_parallel,
        disable_after_s=settings.webhook_disable_after_s,
        retention_s=settings.webhook_retention_s,
    )
