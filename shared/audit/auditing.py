"""Goes through the books once: rule by rule where a statement sees all, page by page where it would take too long."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from shared.obyte.networks import Network, network_named
from shared.store.audit import reading
from shared.store.audit.rules import Invariant, Limits, Walk
from shared.store.errors import DatabaseBusyError, StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.audit.registry import Inspection, Rule
    from shared.store.database import Connection

PAGE = 1_000
"""Channels that one statement looks at, with all that belongs to them: so each is short, and little is in memory."""
PAGE_OF_NUMBERS = 10_000
"""The same of rows that nothing belongs to."""
SAMPLE = 50
"""Signatures that are verified of each page, unless the audit goes deep."""


class AuditInterruptedError(Exception):
    """A rule could not be looked at: nobody knows whether it holds."""

    code = "audit_interrupted"
    is_outcome_unknown = True


class Progress(Protocol):
    """Is told how far the audit has come."""

    def walked(self, what: str, done: int, total: int) -> None:
        """Hear that `done` of `total` were looked at; `what` are they, in words for people."""


class Silent:
    """Tells nobody."""

    def walked(self, what: str, done: int, total: int) -> None:
        """Say nothing."""


@dataclass(slots=True)
class Finding:
    """One rule, and the rows that break it."""

    name: str
    about: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    is_cut: bool = False
    """There are more rows than were asked for."""

    @property
    def holds(self) -> bool:
        """Whether nothing breaks the rule."""
        return not self.rows


@dataclass(slots=True)
class Report:
    """What came of an audit: a finding for every rule that was looked at."""

    findings: list[Finding] = field(default_factory=list)
    rows_read: dict[str, int] = field(default_factory=dict)
    """How many rows the pages had, by what they are."""
    signatures: int = 0
    """How many were verified."""

    @property
    def broken(self) -> list[Finding]:
        """The rules that do not hold."""
        return [finding for finding in self.findings if not finding.holds]


@dataclass(frozen=True, slots=True)
class Audit:
    """How the books are gone through.

    `rules`: what is looked at. `deep`: verify every signature, not only some. `most_rows`: told of each broken rule.
    `default_network`: of a database that no worker has run on.
    """

    rules: Sequence[Rule]
    limits: Limits
    default_network: str
    deep: bool = False
    most_rows: int = 20
    page: int = PAGE
    page_of_numbers: int = PAGE_OF_NUMBERS
    chance: random.Random = field(default_factory=random.Random)

    async def run(self, conn: Connection, progress: Progress | None = None) -> Report:
        """Look at everything in the connection's snapshot (`shared.store.audit.reading`).

        Raises AuditInterruptedError when a rule could not be looked at.
        """
        network = network_named(await reading.network(conn) or self.default_network)
        run = _Run(self, conn, progress or Silent(), network)
        for walk in Walk:
            rules = [rule for rule in self.rules if rule.walk is walk]
            if walk is Walk.AT_ONCE:
                await run.at_once(rules)
            elif rules:
                await run.page_by_page(walk, rules)
        run.report.findings = [run.found[rule.name] for rule in self.rules]
        return run.report


class _Run:
    def __init__(self, audit: Audit, conn: Connection, progress: Progress, network: Network) -> None:
        self._audit = audit
        self._conn = conn
        self._progress = progress
        self._network = network
        self.report = Report()
        self.found = {rule.name: Finding(rule.name, rule.about) for rule in audit.rules}

    async def at_once(self, rules: Sequence[Rule]) -> None:
        for number, rule in enumerate(rules, 1):
            await self._look(rule, ())
            self._progress.walked("sums over everything", number, len(rules))

    async def page_by_page(self, walk: Walk, rules: Sequence[Rule]) -> None:
        after: Any = walk.value[3]
        is_counted = isinstance(after, str)
        most = self._audit.page if is_counted else self._audit.page_of_numbers
        total = await reading.size(self._conn, walk)
        read = 0
        while (page := await reading.page_end(self._conn, walk, after, most)) is not None:
            last, rows = page
            for rule in rules:
                await self._look(rule, (after, last), rows)
            after = last
            read += rows
            self._progress.walked(walk.label, read if is_counted else last, total)
        self.report.rows_read[walk.label] = read

    async def _look(self, rule: Rule, page: tuple[Any, ...], rows: int = 1) -> None:
        finding = self.found[rule.name]
        if finding.is_cut:
            return  # it is known to be broken, and enough is told of it
        try:
            if isinstance(rule, Invariant):
                wanted = self._audit.most_rows - len(finding.rows) + 1
                arguments = (*page, *rule.arguments(self._audit.limits))
                finding.rows += await reading.broken(self._conn, rule, arguments, limit=wanted)
            else:
                await self._inspect(rule, page, finding, rows)
        except DatabaseBusyError as error:
            raise AuditInterruptedError(f"{rule.name} took too long or stood in the way of others: {error}") from error
        except StoreError as error:
            raise AuditInterruptedError(f"{rule.name} could not be looked at: {error}") from error
        if len(finding.rows) > self._audit.most_rows:
            finding.is_cut = True
            del finding.rows[self._audit.most_rows :]

    async def _inspect(self, rule: Inspection, page: tuple[Any, ...], finding: Finding, rows: int) -> None:
        left = rows
        drawn = 0
        async for row in reading.stream(self._conn, rule.sql, *page):
            is_drawn = rule.has_signatures and (self._audit.deep or self._is_drawn(left, SAMPLE - drawn))
            left = max(1, left - 1)
            drawn += is_drawn
            self.report.signatures += is_drawn
            fault = rule.fault(row, self._network, with_signature=is_drawn)
            if fault is not None:
                finding.rows.append(fault)
                if len(finding.rows) > self._audit.most_rows:
                    return

    def _is_drawn(self, left: int, wanted: int) -> bool:
        """Draw so that every row has the same chance, where there is one for each row of the walk."""
        return wanted > 0 and self._audit.chance.randrange(left) < wanted
