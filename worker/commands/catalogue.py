"""Every kind of command that the worker knows, and what they work with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from worker.commands.closing import CloseKind, SweepKind
from worker.commands.depositing import DepositKind
from worker.commands.opening import OpeningRules, OpenKind
from worker.commands.ordered_units import OrderedUnits, UnitPace
from worker.commands.paying import PayingPace, PayKind, ResendKind
from worker.commands.refill_switch import AutoRefillKind
from worker.commands.signing import SignKind
from worker.commands.units_of_wallet import PublishAgentKind, WithdrawKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.agent.packages import PaymentSigner
    from worker.commands.kinds import Kind
    from worker.depositing import Depositing
    from worker.guard import Guard
    from worker.peers.peers import Peers
    from worker.wallet import Wallet


@dataclass(frozen=True, slots=True)
class CommandPace:
    """How often things are looked at and tried for commands. `poll_s`: what no news is heard of, in seconds."""

    poll_s: float = 1.0
    units: UnitPace = field(default_factory=UnitPace)
    paying: PayingPace = field(default_factory=PayingPace)


@dataclass(frozen=True, slots=True)
class Tools:
    """What the kinds of one term of the lease share."""

    guard: Guard
    wallet: Wallet
    peers: Peers
    signer: PaymentSigner
    depositing: Depositing
    opening: OpeningRules
    monotonic: Callable[[], float]
    jitter: Callable[[], float]
    pace: CommandPace


def all_kinds(tools: Tools) -> list[Kind[Any]]:
    """Return one of every kind."""
    guard, peers, monotonic = tools.guard, tools.peers, tools.monotonic
    units = OrderedUnits(guard, tools.wallet, monotonic=monotonic, jitter=tools.jitter, pace=tools.pace.units)
    return [
        CloseKind(guard),
        SweepKind(guard),
        DepositKind(guard, units, tools.depositing),
        AutoRefillKind(),
        OpenKind(guard, units, tools.depositing, peers, tools.opening, monotonic=monotonic),
        PayKind(guard, peers, tools.signer, monotonic=monotonic, pace=tools.pace.paying),
        ResendKind(guard, peers, monotonic=monotonic, pace=tools.pace.paying),
        SignKind(guard, tools.signer),
        WithdrawKind(units),
        PublishAgentKind(units),
    ]
