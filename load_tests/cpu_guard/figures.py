"""The recorded figure, and whether a new one is still within it.

The count depends on the interpreter and the libraries. Where they are those of the record it is compared as it is.
With others it is compared by its ratio to a reference that was counted in the same run: work of the same kinds (JSON,
hashes, frozen dataclasses, one signature) that no change of this project touches. Between releases of Python such
ratios move a little, so that more is allowed there.
"""

from __future__ import annotations

import json
import platform
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from load_tests.cpu_guard.counting import count

FILE = Path(__file__).with_name("recorded.json")
MAY_GROW = 0.10
MAY_GROW_ELSEWHERE = 0.15
RECORD = "python -m load_tests.cpu_guard --record"
_LIBRARIES = ("coincurve", "msgspec", "pycryptodome")


@dataclass(frozen=True, slots=True)
class Figures:
    """Instructions per package, and of the reference; `build`: what they were counted with."""

    package: int
    reference: int
    build: dict[str, str]

    @property
    def ratio(self) -> float:
        """How many references a package costs."""
        return self.package / self.reference


@dataclass(frozen=True, slots=True)
class Verdict:
    """`growth`: against the record, 0.1 is ten per cent more. `allowed`: how far it may go, up or down."""

    growth: float
    allowed: float
    is_same_build: bool

    @property
    def has_grown(self) -> bool:
        """Whether a package costs more than it may."""
        return self.growth > self.allowed

    @property
    def has_fallen(self) -> bool:
        """Whether the record is so much too high that it guards nothing any more."""
        return self.is_same_build and self.growth < -self.allowed

    def __str__(self) -> str:
        how = "instructions" if self.is_same_build else "references, for another build of Python or of a library"
        text = f"{self.growth:+.1%} {how}, {self.allowed:.0%} is allowed"
        if self.has_grown:
            return f"a package costs more than is recorded: {text}; {RECORD}, if it is worth that"
        if self.has_fallen:
            return f"a package costs less than is recorded, so that the guard sleeps: {text}; {RECORD}"
        return f"a package costs what is recorded: {text}"


def measure() -> Figures:
    """Count. Raises CountingError."""
    counted = count("package", "reference")
    return Figures(counted["package"], counted["reference"], this_build())


def this_build() -> dict[str, str]:
    """What the count depends on."""
    return {
        "python": sys.version,
        "machine": platform.machine(),
        "libc": "-".join(platform.libc_ver()),
        **{library: version(library) for library in _LIBRARIES},
    }


def compare(now: Figures, recorded: Figures) -> Verdict:
    """Hold a figure against the record."""
    if now.build == recorded.build:
        return Verdict(now.package / recorded.package - 1, MAY_GROW, is_same_build=True)
    return Verdict(now.ratio / recorded.ratio - 1, MAY_GROW_ELSEWHERE, is_same_build=False)


def read(file: Path = FILE) -> Figures:
    """Return what is recorded."""
    return Figures(**json.loads(file.read_text()))


def write(figures: Figures, file: Path = FILE) -> None:
    """Record."""
    file.write_text(json.dumps(asdict(figures), indent=2) + "\n")
