"""The payers of one run, and what became of their payments. Knows no locust, no clock and no network."""

from __future__ import annotations

import random
from collections import deque
from typing import TYPE_CHECKING

from load_tests.faults.payers import LoadChannel, LoadPayer, Package
from load_tests.faults.wire import Answer, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from load_tests.crowd.profiles import Profile

_MOST_TOLD = 20


def payers_of(seed: int, count: int, receiver: str, deposit: int, version: str) -> list[LoadPayer]:
    """Return the payers of a run, each with a key and a channel of its own: the same ones for the same seed."""
    chance = random.Random(seed)
    return [
        LoadPayer(number, receiver, 1, chance, deposit=deposit, versions=(version,)) for number in range(1, count + 1)
    ]


class Crowd:
    """Payers with open channels. A user of locust takes one and gives it back; no two pay with the same one."""

    def __init__(self, profile: Profile, payers: Sequence[LoadPayer], chance: random.Random | None = None) -> None:
        self.profile = profile
        self.payers = payers
        self.faults: list[str] = []
        """What must not be: refusals of good packages, and receipts that cannot both be true."""
        self._chance = chance or random.Random()
        self._idle = deque(payers)
        for channel in self.channels:
            channel.begin()

    @property
    def channels(self) -> list[LoadChannel]:
        """All channels."""
        return [channel for payer in self.payers for channel in payer.channels]

    @property
    def uncertain(self) -> list[Package]:
        """The packages that were signed and, as far as their payers know, neither taken nor refused."""
        return [package for channel in self.channels if (package := _uncertain_of(channel)) is not None]

    def take(self) -> LoadChannel | None:
        """Take the channel of a payer who does not pay now; None when all do, or have spent what they had."""
        return self._idle.popleft().channels[0] if self._idle else None

    def give_back(self, channel: LoadChannel) -> None:
        """Let another user pay with the channel."""
        if not channel.is_stuck:
            self._idle.append(channel.payer)

    def next_package(self, channel: LoadChannel) -> tuple[Package, bool]:
        """Return what is to be sent, and whether it is new: else nobody knows what became of it, and it is sent again.

        Raises InsufficientFundsError when the payer has spent what he had.
        """
        uncertain = _uncertain_of(channel)
        if uncertain is not None:
            return uncertain, False
        return channel.sign(self._chance.randint(*self.profile.amount)), True

    def pause_s(self) -> float:
        """How long to wait before the next payment."""
        return self._chance.uniform(*self.profile.pause_s)

    def heard(self, package: Package, answer: Answer) -> None:
        """Remember what came of a package."""
        if answer.kind is Kind.RECEIPT:
            self._fault(*package.keep(answer.receipt))
        elif answer.kind is Kind.REFUSED:
            package.channel.is_stuck = True
            self._fault(f"{package.channel.aa_address}: a package was refused: {answer.code}")

    def _fault(self, *texts: str) -> None:
        self.faults += texts[: max(0, _MOST_TOLD - len(self.faults))]


def _uncertain_of(channel: LoadChannel) -> Package | None:
    # A payer signs nothing more before he knows, so there is one at most.
    last = channel.packages[-1] if channel.packages else None
    return last if last is not None and last.receipt is None and not channel.is_stuck else None
