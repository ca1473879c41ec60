"""How far back each address is asked for: its own affair, whatever others have seen.

never read                 from the beginning
events on record           from the last one on, which an honest answer then repeats: its index is only what a hub told,
                           and if that was a lie, the event is missing and the address is read from the beginning
read in this connection    from there on; the index comes from the hub that it is asked of, and ends with the connection
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from shared.obyte.history import ProvenHistory
    from shared.store.ledger_events import LastEvent

FIRST_BATCH = 200
"""Addresses in one request while their whole history is asked for; an answer may have 2 000 units."""
KNOWN_BATCH = 500
"""Addresses in one request from their last events on; the answer repeats those."""
BATCH = 1_000
"""Addresses in one request for what is new."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Addresses to be asked for together."""

    addresses: tuple[str, ...]
    min_mci: int | None
    """None: from the beginning."""
    expected: Mapping[str, str] = field(default_factory=dict)
    """By address a unit that is on the ledger from `min_mci` on, if that index is right."""
    known: tuple[str, ...] = ()
    """Stable units that are left out of the answer."""


@dataclass(frozen=True, slots=True)
class _Bound:
    mci: int
    unit: str | None = None


class Bounds:
    """The bounds of one connection, and how much is asked for at once."""

    def __init__(self) -> None:
        self._known: dict[str, _Bound] = {}
        self._share = 1

    def start_over(self) -> None:
        """Forget how far was read: a new connection, maybe to another hub."""
        self._known.clear()

    def unknown(self, addresses: Iterable[str]) -> list[str]:
        """Return those addresses of which nothing is known in this connection."""
        return [address for address in addresses if address not in self._known]

    def begin_at(self, events: Mapping[str, LastEvent]) -> None:
        """Ask for channels from their last event on record."""
        for address, event in events.items():
            if event.mci:
                self._known.setdefault(address, _Bound(event.mci, event.unit))

    def forget(self, address: str) -> None:
        """Read this address from the beginning the next time."""
        self._known.pop(address, None)

    def ask_for_less(self) -> None:
        """An answer was larger than a frame may be: take fewer addresses into one request from now on."""
        self._share = min(4 * self._share, BATCH)

    def batches(self, addresses: Iterable[str]) -> Iterator[Batch]:
        """Group addresses so that none is asked from later than its own bound."""
        known = dict(self._known)
        wanted = sorted(addresses, key=lambda address: known[address].mci if address in known else -1)
        unknown = [address for address in wanted if address not in known]
        begun = [address for address in wanted if address in known and known[address].unit is not None]
        read = [address for address in wanted if address in known and known[address].unit is None]
        for part in self._parts(unknown, FIRST_BATCH):
            yield Batch(part, None)
        for part in self._parts(begun, KNOWN_BATCH):
            yield Batch(part, known[part[0]].mci, {address: str(known[address].unit) for address in part})
        for part in self._parts(read, BATCH):
            yield Batch(part, known[part[0]].mci)

    def read(self, addresses: Iterable[str], history: ProvenHistory) -> None:
        """Note up to where these addresses, and no others, are completely read."""
        stable = [unit.mci_hint for unit in history.units if unit.is_stable and unit.mci_hint is not None]
        # What the hub sees as stable and cannot prove yet has to be asked for again.
        unproven = [unit.mci_hint for unit in history.units if not unit.is_stable and unit.mci_hint is not None]
        if stable:
            mci = min([max(stable), *unproven])
            for address in addresses:
                before = self._known.get(address)
                self._known[address] = _Bound(max(mci, before.mci if before is not None else 0))

    def _parts(self, addresses: list[str], size: int) -> Iterator[tuple[str, ...]]:
        size = max(1, size // self._share)
        for start in range(0, len(addresses), size):
            yield tuple(addresses[start : start + size])
