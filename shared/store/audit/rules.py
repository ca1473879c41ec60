"""What an invariant is: a name, what must hold, and the statement that finds the rows where it does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.channels.exposure import ExposureRules
    from shared.channels.model import UnconfirmedLimits


class Walk(Enum):
    """How a statement goes through the books: at once, or in pages along a key, so that each is short.

    A statement that goes along a key takes the key before its page as `$1` and the last one of it as `$2`, and reads
    rows with `key > $1 AND key <= $2` only. The value: table, key, the key's type, its value before all others, and
    what people call the rows.
    """

    AT_ONCE = ("", "", "", "", "books")
    CHANNELS = ("channels", "aa_address", "text", "", "channels")
    PAYMENTS = ("all_payments", "id", "bigint", -1, "payments")
    EVENTS = ("events", "id", "bigint", -1, "events")
    COMMANDS = ("commands", "id", "bigint", -1, "commands")
    JOURNAL = ("journal", "id", "bigint", -1, "units")
    REQUESTS = ("payment_requests", "number", "bigint", -1, "payment requests")
    REQUEST_PAYMENTS = ("request_payments", "id", "bigint", -1, "payments of requests")

    @property
    def label(self) -> str:
        """What people call the rows."""
        return str(self.value[4])


@dataclass(frozen=True, slots=True)
class Limits:
    """The settings that some invariants are about. One that was lowered may find what was allowed before."""

    unconfirmed: Mapping[str, UnconfirmedLimits]
    """By asset."""
    exposure: ExposureRules


Arguments: TypeAlias = Callable[[Limits], tuple[object, ...]]


def no_arguments(_: Limits) -> tuple[object, ...]:
    """Return the arguments of a statement that depends on no setting."""
    return ()


@dataclass(frozen=True, slots=True)
class Invariant:
    """Something that must hold. `sql` returns the rows that break it: what names them first, and what is wrong.

    It must return no package, claim, message or other secret: what is found is shown, logged and mailed around.
    """

    name: str
    """Stable, for scripts."""
    about: str
    """What must hold, for people: a sentence."""
    sql: str
    walk: Walk = Walk.AT_ONCE
    arguments: Arguments = no_arguments
    """What `$3` and following are, or `$1` and following of a statement that runs at once."""
