"""One scenario: channels are opened, payments flow, faults strike, and then everything is held to account."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from load_tests.faults.books import faults_of_audit, faults_of_payments, faults_of_payouts
from load_tests.faults.channels import close_all, open_all
from load_tests.faults.load import Load, Mix, Tally

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from load_tests.faults.stage import Stage

KNOWN_S = 90.0
"""How long payers ask, after a scenario, for what is uncertain."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """`strike`: one fault and what follows, until the part is back. `times`: so often at least.

    `spares_payers`: no request may fail.
    """

    name: str
    what: str
    strike: Callable[[Stage, int], Awaitable[None]]
    times: int = 1
    spares_payers: bool = False
    prepare: Callable[[Stage], Awaitable[None]] | None = None
    restore: Callable[[Stage], Awaitable[None]] | None = None


@dataclass(slots=True)
class Outcome:
    """What became of one scenario. `faults`: what must not be; an empty list is a pass."""

    scenario: Scenario
    tally: Tally
    strikes: int = 0
    seconds: float = 0
    done: dict[str, int] = field(default_factory=dict)
    """What was done to which part how often."""
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Effort:
    """How much of it: at least so many payments and strikes, and no longer than that."""

    payments: int
    bound_s: float
    times: int | None = None
    pause_s: float = 0.5
    mix: Mix = field(default_factory=Mix)


async def play(stage: Stage, scenario: Scenario, effort: Effort) -> Outcome:
    """Play one scenario and hold everything to account. Raises TimeoutError when it does not end in its time."""
    stage.say(f"{scenario.name}: {scenario.what}")
    stage.counts.clear()
    began = time.monotonic()
    if scenario.prepare is not None:
        await scenario.prepare(stage)
    await open_all(stage)
    stage.say(f"    {len(stage.channels)} channels open after {time.monotonic() - began:.0f} s")
    load = Load(stage.topology.url, stage.payers, stage.chance, effort.mix)
    outcome = Outcome(scenario, load.tally)
    stage.failed = lambda: load.tally.failed
    began = time.monotonic()
    async with asyncio.timeout(effort.bound_s), load.flowing(KNOWN_S):
        telling = asyncio.create_task(_tell(stage, outcome))
        try:
            await load.until(min(200, effort.payments), KNOWN_S)
            wanted = scenario.times if effort.times is None else effort.times
            while outcome.strikes < wanted or load.tally.payments < effort.payments:
                await scenario.strike(stage, outcome.strikes)
                outcome.strikes += 1
                await load.until(load.tally.payments + 20, KNOWN_S)  # it goes on, whatever it was
                await asyncio.sleep(effort.pause_s * (0.5 + stage.chance.random()))
        finally:
            telling.cancel()
    outcome.seconds = time.monotonic() - began
    outcome.done = dict(stage.counts)
    if scenario.restore is not None:
        await scenario.restore(stage)
    stage.say(f"    {outcome.done}; {_line(outcome)}")
    await _account(stage, outcome)
    stage.say(f"    {'; '.join(outcome.faults) or 'all books agree'}")
    return outcome


async def _account(stage: Stage, outcome: Outcome) -> None:
    tally, faults = outcome.tally, outcome.faults
    faults += [f"refused: {text}" for text in tally.refusals]
    faults += tally.contradictions
    if tally.unresolved:
        faults.append(f"{tally.unresolved} payments are uncertain for good")
    if outcome.scenario.spares_payers and tally.failed:
        faults.append(f"{tally.failed} of {tally.raw} requests failed: {tally.failures}")
    faults += await faults_of_payments(stage)
    faults += await faults_of_audit(stage)
    began = time.monotonic()
    await close_all(stage)
    stage.say(f"    {len(stage.channels)} channels closed after {time.monotonic() - began:.0f} s")
    faults += await faults_of_payouts(stage)
    faults += await faults_of_audit(stage)


async def _tell(stage: Stage, outcome: Outcome) -> None:
    while True:
        await asyncio.sleep(10)
        stage.say(f"    {_line(outcome)}")


def _line(outcome: Outcome) -> str:
    tally = outcome.tally
    return (
        f"{outcome.strikes} strikes, {tally.payments} payments, {tally.raw} requests ({tally.resent} sent again),"
        f" {tally.failed} without a receipt {tally.failures or ''}, longest pause {tally.longest_gap_s:.1f} s"
    )
