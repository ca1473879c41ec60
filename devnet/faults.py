"""Faults of a hub, for tests of those who talk to it: each happens once, in the order they were ordered."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with the answer after a request was carried out."""

    drops_connection: bool = False
    loses_answer: bool = False
    denial: str | None = None
    """Answered as an error instead of the true answer."""
    delay_s: float = 0.0


NO_FAULT = Fault()


class Faults:
    """What to do wrong with the next requests, by command."""

    def __init__(self) -> None:
        self._refusals: dict[str, deque[str]] = defaultdict(deque)
        self._faults: dict[str, deque[Fault]] = defaultdict(deque)

    def refuse(self, command: str, text: str) -> None:
        """Answer the next such request with an error and carry out nothing."""
        self._refusals[command].append(text)

    def lose_answer(self, command: str) -> None:
        """Carry out the next such request, and answer nothing."""
        self._faults[command].append(Fault(loses_answer=True))

    def deny(self, command: str, text: str) -> None:
        """Carry out the next such request, and answer with an error as if nothing had been done."""
        self._faults[command].append(Fault(denial=text))

    def drop_connection_after(self, command: str) -> None:
        """Carry out the next such request, and cut the connection instead of answering."""
        self._faults[command].append(Fault(drops_connection=True))

    def delay_answer(self, command: str, delay_s: float) -> None:
        """Carry out the next such request, and answer later."""
        self._faults[command].append(Fault(delay_s=delay_s))

    def refusal(self, command: str) -> str | None:
        """Take the refusal ordered for a request, if any."""
        refusals = self._refusals.get(command)
        return refusals.popleft() if refusals else None

    def after_serving(self, command: str) -> Fault:
        """Take the fault ordered for an answer, if any."""
        faults = self._faults.get(command)
        return faults.popleft() if faults else NO_FAULT
