"""Fair under pressure: what others feel while one channel floods, and that a front with too much to do says so early.

The others pay at a steady pace, each from an address of his own, and their latency counts from when they meant to pay.
The flood comes from one address, as fast as it is answered. Limits are as shipped, for they are a part of the answer.
The flood's client steps back for everybody (`nice`): from another machine it would take no CPU of this one.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import tempfile
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from load_tests.bench.channels import fill
from load_tests.bench.client import Answers, Client, Job, request
from load_tests.bench.machine import Machine, Server, as_shipped
from load_tests.bench.measuring import RoundError
from load_tests.bench.payers import BenchPayer, badly_signed, random_bodies
from load_tests.bench.plans import PAID, REFUSED
from load_tests.bench.report import this_machine
from load_tests.bench.rows import percentile_ms
from load_tests.bench.running import Bar
from load_tests.bench.tables import SideReport
from load_tests.bench.targets import Target, at_least, at_most

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rich.console import Console

UNFAIR_LIMIT = 2.0
QUIET = "nobody floods"
CROWD = "as many others pay, too"
HOT = "one channel pays"
FORGED = "bad signatures"
COPIES = "copies of one package"
FLOODS = (HOT, FORGED, COPIES)

_CHANNELS = 1_000
_OTHERS = 16
_OTHERS_PACE_S = 0.1
_FLOODING = 64
_FLOOD_PER_S = 8_000
"""More than a front answers, refusals included: so many payments of the flood are signed ahead."""
_FLOODER = "198.51.100.7"
_AHEAD_S = 0.5

_LIMITS = (
    "limit_payments_per_channel", "limit_refusals_per_channel", "limit_posts_per_address", "accept_queue_max",
)  # fmt: skip
_SHORT_QUEUE = 32
_CROWDED = 512
_CROWDED_PAUSE_S = 0.1


@dataclass(frozen=True, slots=True)
class Felt:
    """What the others felt in one round, and what became of the flood."""

    p50_ms: float
    p99_ms: float
    flood_per_s: float
    flood_refused: float
    """The share of the flood that was turned away: not answered as it would be without a flood."""
    failed: float
    """The share of the others' payments that were not credited."""


def measure_fairness(seconds: float, rounds: int, console: Console) -> SideReport:
    """Flood in each way, so many rounds of so many seconds, then offer too much. Raises RoundError."""
    on = this_machine()
    with ExitStack() as stack:
        home = stack.enter_context(tempfile.TemporaryDirectory(prefix="sluice-fairness-"))
        here = stack.enter_context(Machine(Path(home)))
        others = stack.enter_context(Client())
        flood = stack.enter_context(Client(nice=19))
        bar = stack.enter_context(Bar(console))
        stage = _Stage(here, others, flood, seconds)
        felt: dict[str, list[Felt]] = defaultdict(list)
        kinds = (QUIET, CROWD, *FLOODS)
        bar.begin("fairness", rounds * len(kinds) + 2)
        for _ in range(rounds):
            for kind in stage.chance.sample(kinds, len(kinds)):
                bar.tell(kind)
                felt[kind].append(stage.round(kind, complain=bar.complain))
        bar.tell("too many payments, a short queue")
        shed = stage.crowd(stage.short)
        bar.tell("too many payments")
        kept = stage.crowd(stage.front)
    medians = {kind: _median(felt[kind]) for kind in kinds}
    rows = [_row(kind, one, medians) for kind, one in medians.items()]
    rows += [*_crowd_rows(f"a queue of {_SHORT_QUEUE}", shed), *_crowd_rows("the usual queue", kept)]
    return SideReport("Others, while one floods; latencies of the others", on, rows,
                      [*fairness_targets(medians), *shed_targets(shed)])  # fmt: skip


def fairness_targets(medians: Mapping[str, Felt]) -> list[Target]:
    """Compare with the quiet rounds."""
    quiet = medians[QUIET].p99_ms
    found = []
    for kind in FLOODS:
        found += at_most(f"p99 of others, {kind} ÷ {QUIET}", UNFAIR_LIMIT, [medians[kind].p99_ms / quiet])
    failed = (felt.failed for felt in medians.values())
    return [*found, *at_most("share of the others' payments that were not credited", 0.0, failed)]


def shed_targets(answers: Answers) -> list[Target]:
    """See that payments were refused for want of room, sooner than others were credited."""
    refused = answers.other.get(503, ())
    late = percentile_ms(answers.good, 0.99) or 1.0
    return [
        *at_least("share of payments answered by 503, with too many for the queue", 0.01,
                  [len(refused) / max(1, answers.count)]),
        *at_most("p99 of a 503 ÷ p99 of a credited payment", 1.0, [percentile_ms(refused, 0.99) / late]),
    ]  # fmt: skip


class _Stage:
    def __init__(self, here: Machine, others: Client, flood: Client, seconds: float) -> None:
        self._others, self._flood, self._seconds = others, flood, seconds
        self.chance = random.Random(5)
        self._payers = [BenchPayer(number) for number in range(_CHANNELS)]
        dsn = here.database("fairness")
        asyncio.run(fill(dsn, self._payers, _CHANNELS, self.chance))
        limits = as_shipped(*_LIMITS)
        self.front = here.front("front", dsn, **limits)
        self.short = here.front("front-short-queue", dsn, **(limits | {"accept_queue_max": _SHORT_QUEUE}))
        here.wait_ready()
        self._hot, *self._rest = self._payers
        for server in (self.front, self.short):
            self._warm(server)

    def round(self, kind: str, *, complain: Callable[[str], object]) -> Felt:
        """Let the others pay, and one flood in the way that `kind` says. `complain` hears who else was not credited."""
        count = int(self._seconds / _OTHERS_PACE_S) * _OTHERS
        meant = [
            request(body, origin=f"203.0.113.{number % 200}")
            for number, body in enumerate(random_bodies(self._rest, count, self.chance))
        ]
        self._others.start(
            Job([self.front.port], meant, _OTHERS, PAID, stop_after_s=self._seconds, pace_s=_OTHERS_PACE_S)
        )
        if kind != QUIET:
            self._flood.start(self._flooding(kind))
            self._flood.go()
        self._others.go()
        answers = self._others.finish()
        flooded = self._flood.finish() if kind != QUIET else Answers(seconds=self._seconds)
        if flooded.seconds < self._seconds:
            raise RoundError(f"{kind}: the flood ended after {flooded.count} requests, before the others did")
        if answers.other:
            others = {status: len(found) for status, found in answers.other.items()}
            complain(f"{kind}: others were answered by {others}, as {answers.example!r}")
        return Felt(
            percentile_ms(answers.good, 0.5),
            percentile_ms(answers.good, 0.99),
            flooded.count / flooded.seconds,
            1 - len(flooded.good) / flooded.count if flooded.count else 0.0,
            1 - len(answers.good) / answers.count,
        )

    def crowd(self, server: Server) -> Answers:
        """Have more pay at a time than a short queue can hold, each again a little after his answer."""
        count = int(self._seconds / _CROWDED_PAUSE_S) * _CROWDED
        made = [
            request(body, origin=f"203.0.113.{number % 200}")
            for number, body in enumerate(random_bodies(self._rest, count, self.chance))
        ]
        job = Job([server.port], made, _CROWDED, PAID, stop_after_s=self._seconds, pause_s=_CROWDED_PAUSE_S)
        self._others.start(job)
        self._others.go()
        return self._others.finish()

    def _flooding(self, kind: str) -> Job:
        ends_s = self._seconds + _AHEAD_S
        count = int(ends_s * _FLOOD_PER_S)
        if kind == CROWD:
            crowd = enumerate(random_bodies(self._rest, count, self.chance))
            made = [request(body, origin=f"192.0.2.{number % 200}") for number, body in crowd]
        elif kind == HOT:
            made = [_from_one(self._hot.next_body()) for _ in range(count)]
        else:
            body = self._hot.next_body()
            made = [_from_one(badly_signed(body) if kind == FORGED else body)]
        # Until a little after the others have ended: all of theirs is under the flood.
        return Job(
            [self.front.port],
            made,
            _FLOODING,
            REFUSED if kind == FORGED else PAID,
            stop_after_s=ends_s,
            repeat=kind in (FORGED, COPIES),
        )

    def _warm(self, server: Server) -> None:
        made = [request(payer.next_body(), origin=f"203.0.113.{n % 200}") for n, payer in enumerate(self._payers)]
        self._others.start(Job([server.port], made, _OTHERS, PAID))
        self._others.go()
        self._others.finish()


def _from_one(body: bytes) -> bytes:
    return request(body, origin=_FLOODER)


def _median(felt: Sequence[Felt]) -> Felt:
    return Felt(*(statistics.median(getattr(one, name) for one in felt)
                  for name in ("p50_ms", "p99_ms", "flood_per_s", "flood_refused", "failed")))  # fmt: skip


def _row(kind: str, felt: Felt, medians: Mapping[str, Felt]) -> dict[str, Any]:
    return {
        "flood": kind,
        "p50_ms": felt.p50_ms,
        "p99_ms": felt.p99_ms,
        "to_quiet": felt.p99_ms / medians[QUIET].p99_ms,
        "to_crowd": felt.p99_ms / medians[CROWD].p99_ms,
        "flood_per_s": felt.flood_per_s,
        "turned_away": felt.flood_refused,
        "others_failed": felt.failed,
    }


def _crowd_rows(queue: str, answers: Answers) -> list[dict[str, Any]]:
    kinds = [("credited", answers.good), *((str(status), found) for status, found in sorted(answers.other.items()))]
    return [
        {
            "flood": f"{_CROWDED} at a time, {queue}: {name}",
            "p50_ms": percentile_ms(latencies, 0.5),
            "p99_ms": percentile_ms(latencies, 0.99),
            "to_quiet": None,
            "to_crowd": None,
            "flood_per_s": len(latencies) / answers.seconds,
            "turned_away": None,
            "others_failed": None,
        }
        for name, latencies in kinds
    ]
