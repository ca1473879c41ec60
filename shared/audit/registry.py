"""Every rule that a database is held against.

To add one: write an `Invariant` (a name, what must hold, the statement that finds the rows where it does not) into a
module of `shared.store.audit`, put that module's tuple into `RULES`, and a way to break it into
`tests/integration/audit/damages.py`: a test holds that every rule is broken once and found.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from shared.audit.packages import address_fault, package_fault
from shared.store.audit.archive import ARCHIVE
from shared.store.audit.channels import CHANNELS
from shared.store.audit.packages import ADDRESSES, CLAIMS, SENT_PACKAGES
from shared.store.audit.payments import PAYMENTS
from shared.store.audit.requests import REQUESTS
from shared.store.audit.rules import Invariant, Walk
from shared.store.audit.stream import STREAM
from shared.store.audit.vault import VAULT
from shared.store.audit.webhooks import WEBHOOKS

if TYPE_CHECKING:
    import asyncpg

    from shared.obyte.networks import Network

Judge: TypeAlias = Callable[..., str | None]
"""(row, network, with_signature=…) → what is wrong with it, None if nothing."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """Something that must hold and that no statement can tell: every row that `sql` returns is judged.

    `sql` takes a page of the walk as an invariant's does, and may return secrets: only `shown` are told.
    """

    name: str
    about: str
    sql: str
    judge: Judge
    shown: tuple[str, ...]
    has_signatures: bool = False
    """Judging a row wholly is slow, so it is done for some rows only, unless the audit goes deep."""
    walk: Walk = Walk.CHANNELS

    def fault(self, row: asyncpg.Record, network: Network, *, with_signature: bool) -> dict[str, Any] | None:
        """Return what to tell of a row that breaks the rule, None if it does not."""
        fault = self.judge(row, network, with_signature=with_signature)
        return None if fault is None else {name: row[name] for name in self.shown} | {"fault": fault}


Rule: TypeAlias = Invariant | Inspection

INSPECTIONS = (
    Inspection(
        "address_follows_from_parameters",
        "A channel's address is the hash of what its parties agreed on.",
        ADDRESSES,
        address_fault,
        ("aa_address", "version"),
    ),
    Inspection(
        "claim_proves_spent",
        "The package that is kept of a channel is the peer's, and proves exactly what he has spent in this period.",
        CLAIMS,
        package_fault,
        ("aa_address", "period", "amount_spent"),
        has_signatures=True,
    ),
    Inspection(
        "sent_package_proves_payment",
        "A package of ours that is kept is signed by us, for exactly the payment it is kept with.",
        SENT_PACKAGES,
        package_fault,
        ("aa_address", "period", "amount_spent", "payment_amount"),
        has_signatures=True,
    ),
)

RULES: tuple[Rule, ...] = (*PAYMENTS, *ARCHIVE, *CHANNELS, *VAULT, *REQUESTS, *STREAM, *WEBHOOKS, *INSPECTIONS)
