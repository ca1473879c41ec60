"""A steady stream of payments, with copies of earlier ones in between, that goes on whatever happens to the receiver.

Each answer is counted before anything follows from it, so no retry hides a failure. Whoever does not know what became
of a payment sends the same bytes again until he has a receipt or a definite no, as payers do.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from load_tests.faults.payers import MOST_AT_ONCE, LoadChannel, LoadPayer, Package
from load_tests.faults.wire import Answer, Kind, Line

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Sequence

LANES = 2
"""Connections of each payer, each of them one request at a time."""
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 0.5
_MOST_TOLD = 20


@dataclass(frozen=True, slots=True)
class Mix:
    """What is sent. Shares of 1; `per_second`: payments of all payers together, 0: as many as come back."""

    resent: float = 0.1
    """An identical copy of an earlier package, paid for long ago."""
    twins: float = 0.03
    """A new package that is sent twice at the same time, over two connections."""
    per_second: float = 0


@dataclass(slots=True)
class Tally:
    """What came back. `answers`: of every single request, by kind and code."""

    answers: Counter[tuple[Kind, str]] = field(default_factory=Counter)
    payments: int = 0
    """Packages that a payer has a receipt for."""
    resent: int = 0
    """Requests with a package that had been sent before, or was being sent."""
    longest_gap_s: float = 0
    """The longest time without any receipt."""
    refusals: list[str] = field(default_factory=list)
    contradictions: list[str] = field(default_factory=list)
    """Answers that cannot both be true; the first ones."""
    unresolved: int = 0
    """Packages of which nobody said in time what became of them."""

    @property
    def raw(self) -> int:
        """All requests."""
        return self.answers.total()

    @property
    def failed(self) -> int:
        """Requests without a receipt."""
        return sum(count for (kind, _), count in self.answers.items() if kind is not Kind.RECEIPT)

    @property
    def failures(self) -> dict[str, int]:
        """What those were, the most frequent first."""
        return {
            f"{kind.value} {code}".strip(): count
            for (kind, code), count in self.answers.most_common()
            if kind is not Kind.RECEIPT
        }


class Load:
    """The payers' stream. `tally` is kept up while it flows."""

    def __init__(self, url: str, payers: Sequence[LoadPayer], chance: random.Random, mix: Mix | None = None) -> None:
        self.tally = Tally()
        self._url, self._payers, self._chance, self._mix = url, payers, chance, mix or Mix()
        self._is_flowing = True
        self._give_up_at = float("inf")
        self._last_receipt_at = 0.0

    @asynccontextmanager
    async def flowing(self, within_s: float) -> AsyncIterator[Load]:
        """Let payments flow within the block; after it every payer learns within so many seconds what is uncertain."""
        loop = asyncio.get_running_loop()
        self._last_receipt_at = loop.time()
        async with asyncio.TaskGroup() as lanes:
            for payer in self._payers:
                payer.idle.clear()
                payer.idle.extend(payer.channels)
                for _ in range(LANES):
                    lanes.create_task(self._lane(payer))
            try:
                yield self
            finally:
                self._is_flowing = False
                self._give_up_at = loop.time() + within_s
        self._note_gap()

    async def until(self, payments: int, within_s: float) -> None:
        """Return when so many payments have receipts. Raises TimeoutError."""
        async with asyncio.timeout(within_s):
            while self.tally.payments < payments:  # noqa: ASYNC110 - it is counted up by many
                await asyncio.sleep(0.1)

    async def _lane(self, payer: LoadPayer) -> None:
        line, second = Line(self._url), Line(self._url)
        loop = asyncio.get_running_loop()
        every_s = LANES * len(self._payers) / self._mix.per_second if self._mix.per_second else 0.0
        next_at = loop.time() + self._chance.random() * every_s
        try:
            while self._is_flowing:
                await asyncio.sleep(max(0.0, next_at - loop.time()))
                next_at = max(next_at, loop.time() - every_s) + every_s
                if self._chance.random() < self._mix.resent and (known := self._earlier(payer)):
                    self.tally.resent += 1
                    self._heard(known, await line.ask(known.body))
                elif payer.idle:
                    await self._pay(payer, payer.idle.popleft(), line, second)
                else:
                    await asyncio.sleep(_FIRST_PAUSE_S)
        finally:
            line.close()
            second.close()

    def _earlier(self, payer: LoadPayer) -> Package | None:
        channel = self._chance.choice(payer.channels)
        if not channel.packages:
            return None
        package = self._chance.choice(channel.packages)
        return package if package.receipt is not None else None

    async def _pay(self, payer: LoadPayer, channel: LoadChannel, line: Line, second: Line) -> None:
        package = channel.sign(self._chance.randint(1, MOST_AT_ONCE))
        if self._chance.random() < self._mix.twins:
            self.tally.resent += 1
            await asyncio.gather(self._until_known(package, line), self._until_known(package, second))
        else:
            await self._until_known(package, line)
        if not channel.is_stuck:
            payer.idle.append(channel)

    async def _until_known(self, package: Package, line: Line) -> None:
        loop = asyncio.get_running_loop()
        pause_s = _FIRST_PAUSE_S
        while True:
            answer = await line.ask(package.body)
            self._heard(package, answer)
            if answer.kind.is_certain:
                return
            if loop.time() > self._give_up_at:
                self.tally.unresolved += 1
                package.channel.is_stuck = True
                return
            self.tally.resent += 1
            await asyncio.sleep(pause_s * (0.5 + self._chance.random()))
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _heard(self, package: Package, answer: Answer) -> None:
        self.tally.answers[answer.kind, answer.code] += 1
        if answer.kind is Kind.RECEIPT:
            self._note_gap()
            self._keep(package, answer)
        elif answer.kind is Kind.REFUSED:
            package.channel.is_stuck = True
            if len(self.tally.refusals) < _MOST_TOLD:
                self.tally.refusals.append(f"{package.channel.aa_address}: {answer.code}")

    def _keep(self, package: Package, answer: Answer) -> None:
        is_first = package.receipt is None
        for contradiction in package.keep(answer.receipt):
            self._contradicts(contradiction)
        self.tally.payments += is_first

    def _contradicts(self, text: str) -> None:
        if len(self.tally.contradictions) < _MOST_TOLD:
            self.tally.contradictions.append(text)

    def _note_gap(self) -> None:
        now = asyncio.get_running_loop().time()
        self.tally.longest_gap_s = max(self.tally.longest_gap_s, now - self._last_receipt_at)
        self._last_receipt_at = now
