"""What happens on a ledger, as it is told to those who listen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from devnet.dag import UnitRecord
    from devnet.responses import AgentResponse


@dataclass(frozen=True, slots=True)
class UnitAdded:
    """A unit joined the ledger; `source` is whatever the poster passed, None for the ledger's own units."""

    record: UnitRecord
    source: object


@dataclass(frozen=True, slots=True)
class UnitsDisputed:
    """These units were good and are undecided now, because another one conflicts with them."""

    records: tuple[UnitRecord, ...]


@dataclass(frozen=True, slots=True)
class UnitsProvable:
    """These units are stable, and a light client can be shown that they are."""

    records: tuple[UnitRecord, ...]


@dataclass(frozen=True, slots=True)
class AgentResponded:
    """A trigger was executed."""

    response: AgentResponse


@dataclass(frozen=True, slots=True)
class SystemVarsChanged:
    """A vote was counted: other values of system variables are in force from now on."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """The order provider may post again."""


LedgerEvent: TypeAlias = UnitAdded | UnitsDisputed | UnitsProvable | AgentResponded | SystemVarsChanged | Resumed
