"""One run: opens the channels through the bank's process, and in the end resolves, compares and closes."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from load_tests.crowd.books import Books, Door, DoorError, compare
from load_tests.crowd.crowd import Crowd, payers_of
from load_tests.crowd.line import Line
from load_tests.crowd.profiles import RefusedError
from shared.obyte.networks import DEVNET

if TYPE_CHECKING:
    from collections.abc import Callable

    from load_tests.crowd.profiles import Profile

KNOWN_S = 30.0
"""How long payers ask, in the end, what became of payments that nobody has answered."""
_ROOT = Path(__file__).parents[2]
_PAUSE_S = 0.2
_LEAVES_S = 20.0


class RunError(Exception):
    """The channels cannot be opened or closed."""


@dataclass(slots=True)
class Report:
    """How a run has ended. Amounts in bytes. `faults`: what must not be; an empty list is a pass."""

    books: Books
    requests: int = 0
    failed: int = 0
    """Requests without a receipt, whatever came of the same payment later."""
    asked_in_the_end: int = 0
    """Payments of which nobody knew what became of them when the time was over; their payers asked again."""
    uncertain: int = 0
    """Those of which nobody said it then either."""
    channels_closed: int = 0
    channels_left: int = 0
    """Closed by their payers too, and too small for the receiver to pay for an early end."""
    faults: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Say it to people."""
        books = self.books
        told = [
            f"requests                  {self.requests}, failed: {self.failed}",
            f"channels                  {books.channels}",
            f"closed and paid out       {self.channels_closed}, left to time: {self.channels_left}",
            f"receipts                  {books.receipts}, found again: {books.receipts_found}",
            f"paid by receipts          {books.paid} bytes, credited: {books.credited}",
            f"asked again in the end    {self.asked_in_the_end}, uncertain for good: {self.uncertain}",
        ]
        return told + ([f"FAULT: {text}" for text in self.faults] or ["all books agree"])

    def write(self, file: Path) -> None:
        """Write it as JSON."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(asdict(self), indent=1) + "\n")


class Run:
    """The crowd of one run and its bank. Made by `Run.begun`."""

    def __init__(
        self, url: str, key: str, crowd: Crowd, bank: subprocess.Popen[str], tell: Callable[[str], None]
    ) -> None:
        self.crowd = crowd
        self.url = url
        self._key, self._bank, self._tell = key, bank, tell

    @classmethod
    def begun(
        cls, url: str, hub: str, key: str, profile: Profile, payers: int, *, tell: Callable[[str], None] = print
    ) -> Self:
        """Open a channel for each payer. Takes seconds. Raises RefusedError, DoorError and RunError."""
        door = Door(url, key)
        terms = door.terms()
        if terms["network"] != DEVNET.name:
            raise RefusedError(f"this receiver is on {terms['network']}: load is put on local ledgers only")
        door.get("/v1/payments?limit=1")  # a key that reads nothing is told of before and not after the run
        given = {
            "url": url,
            "hub": hub,
            "receiver": terms["receiver"],
            # The first one is the receiver's favourite, in which nothing is at risk.
            "version": terms["agent_versions"][0],
            "seed": secrets.randbits(63),
            "payers": payers,
            "deposit": profile.deposit,
        }
        bank = subprocess.Popen(
            [sys.executable, "-m", "load_tests.crowd.bank"],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # it has channels to close when people have pressed Ctrl-C
        )
        crowd = Crowd(profile, payers_of(given["seed"], payers, given["receiver"], given["deposit"], given["version"]))
        run = cls(url, key, crowd, bank, tell)
        tell(f"{profile.name}: {profile.what}; opening {payers} channels")
        try:
            run._say(given)
            run._hear("open")
        except BaseException:
            bank.kill()
            raise
        return run

    def end(self, *, close: bool = True, confirmed_from: int = 0) -> Report:
        """Learn what is uncertain, look for every receipt, close the channels. Raises nothing that can be told.

        `confirmed_from`: in bytes; the end of channels that have paid less is not waited for.
        """
        report = Report(Books(), asked_in_the_end=len(self.crowd.uncertain))
        try:
            self._resolve()
            report.uncertain = len(self.crowd.uncertain)
            if report.uncertain:
                report.faults.append(f"{report.uncertain} payments are uncertain for good")
            report.books = compare(Door(self.url, self._key), self.crowd.channels)
            report.faults += report.books.faults
            if close:
                self._tell(f"closing {len(self.crowd.channels)} channels")
                amounts = {channel.aa_address: (channel.signed, channel.paid) for channel in self.crowd.channels}
                self._say({"close": amounts, "confirmed_from": confirmed_from})
                told = self._hear("closed")
                report.channels_closed, report.channels_left = told["closed"], told["left"]
                report.faults += told["faults"]
        except (DoorError, RunError) as error:
            report.faults.append(str(error))
        finally:
            self._dismiss()
        report.faults = self.crowd.faults + report.faults
        return report

    def _resolve(self) -> None:
        line, until = Line(self.url), time.monotonic() + KNOWN_S
        while (uncertain := self.crowd.uncertain) and time.monotonic() < until:
            for package in uncertain:
                self.crowd.heard(package, line.ask(package.body)[0])
            time.sleep(_PAUSE_S)
        line.close()

    def _say(self, line: dict[str, Any]) -> None:
        pipe = self._bank.stdin
        try:
            if pipe is not None:
                pipe.write(json.dumps(line) + "\n")
                pipe.flush()
        except OSError:
            raise RunError("the program that opens and closes channels has ended") from None

    def _hear(self, awaited: str) -> dict[str, Any]:
        """Tell what the bank says until it says what is waited for."""
        for line in self._bank.stdout or ():
            told: dict[str, Any] = json.loads(line)
            if awaited in told:
                return told
            self._tell(told.get("said", ""))
        raise RunError("the program that opens and closes channels has ended, see above")

    def _dismiss(self) -> None:
        if self._bank.stdin is not None:
            self._bank.stdin.close()
        try:
            self._bank.wait(_LEAVES_S)
        except subprocess.TimeoutExpired:
            self._bank.kill()
