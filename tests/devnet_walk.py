"""A ledger on which everything goes on that can: payments, channels, conflicts, changes of mind, time that passes.

    walk = Walk(seed=7)
    for _ in range(100):
        walk.step()

The same seed walks the same way. Whatever it does, the ledger stays one whose every light proof holds.
"""

from __future__ import annotations

import contextlib
import random
from typing import TYPE_CHECKING, Any

from devnet.ledger import Ledger
from devnet.reorganisation import ReorganisationError
from devnet.state import RejectedError
from shared.obyte.composing import Output
from shared.obyte.errors import ObyteError
from tests.devnet_support import Actor, TestChannel

if TYPE_CHECKING:
    from collections.abc import Callable

    from devnet.dag import UnitRecord

START_S = 1_700_000_000.0
TIMEOUT_S = 1_000
_AMOUNTS = (1, 9_999, 10_000, 10_001, 60_000, 250_000)


class Walk:
    """One walk. `steps` counts what was done; refused attempts count too."""

    def __init__(self, seed: int, *, actors: int = 4, channels: int = 2, now_s: float = START_S) -> None:
        self.random = random.Random(seed)
        self.now_s = now_s
        self.ledger = Ledger(seed=f"walk {seed}".encode(), clock=lambda: self.now_s)
        self.actors = [Actor(self.ledger, number + 1) for number in range(actors)]
        for actor in self.actors:
            for _ in range(3):
                self.ledger.treasury.fund(actor.address, 50_000_000)
        self.ledger.settle()
        self.channels = [self._open(number) for number in range(channels)]
        self.ledger.settle()
        self.steps: dict[str, int] = {}
        self._actions: dict[str, tuple[int, Callable[[], object]]] = {
            "pay": (4, self.pay),
            "trigger": (8, self.trigger),
            "double spend": (3, self.double_spend),
            "forget": (1, self.forget),
            "recreate": (2, self.recreate),
            "advance": (8, self.advance),
            "wait": (1, self.wait),
        }

    @property
    def addresses(self) -> list[str]:
        """Everyone's, people's and agents'."""
        return [*(actor.address for actor in self.actors), *(channel.address for channel in self.channels)]

    def step(self) -> str:
        """Do one thing and return its name."""
        names = list(self._actions)
        name = self.random.choices(names, [self._actions[name][0] for name in names])[0]
        self._try(self._actions[name][1])
        self.steps[name] = self.steps.get(name, 0) + 1
        return name

    def pay(self) -> object:
        """Let someone pay someone."""
        payer, payee = self.random.choices(self.actors, k=2)
        return payer.pay(payee.address, self.random.choice(_AMOUNTS))

    def trigger(self) -> object:
        """Let someone, mostly a party, say something to a channel, mostly something sensible."""
        channel = self.random.choice(self.channels)
        sender = self.random.choice([channel.a, channel.b, channel.a, channel.b, self.random.choice(self.actors)])
        return sender.trigger(channel.address, self._saying(channel, sender), self.random.choice(_AMOUNTS))

    def double_spend(self) -> object:
        """Post units that spend the same coins, seen in any order, and let one of them win, or chance decide."""
        payer = self.random.choice(self.actors)
        coins, place = payer.coins(), payer.parents()
        targets = [self.random.choice(self.addresses) for _ in range(2)]
        amounts = self.random.sample(_AMOUNTS, 2)
        joints = [
            payer.compose([Output(to, amount)], coins=coins, parents=place)
            for to, amount in zip(targets, amounts, strict=True)
        ]
        rivals: list[UnitRecord] = []
        for joint in joints:
            rivals.append(self.ledger.post(joint, with_conflicts=True))
            if self.random.random() < 0.2:
                self.advance()
        if self.random.random() < 0.7:
            self.ledger.prefer(self.random.choice(rivals).hash)
        return rivals

    def forget(self) -> object:
        """Let a unit vanish that is on no main chain yet."""
        loose = [record.hash for record in self.ledger.state.dag.records.values() if record.mci is None]
        return self.ledger.forget(self.random.choice(loose)) if loose else None

    def recreate(self) -> object:
        """Let the newest answer of an agent be made anew."""
        units = self.ledger.state.agent_units
        return self.ledger.recreate(units[-1].hash) if units else None

    def advance(self) -> object:
        """Let the order provider post a few units, and a second or more pass."""
        self.now_s += self.random.choice((0, 1, 5))
        return [self.ledger.advance() for _ in range(self.random.randint(1, 3))]

    def wait(self) -> object:
        """Let channel timeouts elapse, for agents alone."""
        return self.ledger.skip_agent_time(TIMEOUT_S)

    def settle(self) -> None:
        """Make everything stable and provable."""
        self.ledger.settle()

    def _open(self, number: int) -> TestChannel:
        a, b = self.random.sample(self.actors, 2)
        channel = TestChannel(self.ledger, a, b, timeout_s=TIMEOUT_S, salt=f"salt {number}")
        self.ledger.post(channel.open_unit(200_000))
        self.ledger.settle()
        return channel

    def _saying(self, channel: TestChannel, sender: Actor) -> dict[str, Any] | None:
        period = channel.ledger.state.agents[channel.address].state.period or 1
        peer = channel.b if sender is channel.a else channel.a
        claim = channel.signed(peer, self.random.randint(1, 60_000), period)
        sayings: list[dict[str, Any] | None] = [
            None,
            {"close": 1, "period": period},
            {"close": 1, "period": period, "sentByPeer": claim},
            {"close": 1, "period": period, "transferredFromMe": 1_000, "sentByPeer": claim},
            {"confirm": 1, "period": period},
            {"fraud_proof": 1, "sentByPeer": claim},
            {"close": 1, "period": period + 1},
            {"nonsense": [1, {"deep": "er"}]},
        ]
        return self.random.choice(sayings)

    def _try(self, action: Callable[[], object]) -> None:
        # Not everything can be done at any time, and that it is refused is a step too.
        with contextlib.suppress(RejectedError, ReorganisationError, ObyteError):
            action()
