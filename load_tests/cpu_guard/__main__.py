"""The command: `python -m load_tests.cpu_guard`."""

from __future__ import annotations

import argparse
import sys

from load_tests.cpu_guard import figures
from load_tests.cpu_guard.counting import CountingError, count

_PARTS = ("package", "reading", "verification", "signature", "library")


def main() -> int:
    """Measure. Exit status: 0 when the recorded figure holds, 1 when not, 2 when nothing could be counted."""
    parser = argparse.ArgumentParser(
        prog="python -m load_tests.cpu_guard", description="Instructions per package, against the recorded figure."
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--record", action="store_true", help=f"write what is measured to {figures.FILE.name}")
    what.add_argument("--parts", action="store_true", help="show where the instructions go; compares nothing")
    given = parser.parse_args()
    try:
        return _show_parts() if given.parts else _guard(record=given.record)
    except CountingError as error:
        print(error, file=sys.stderr)
        return 2


def _guard(*, record: bool) -> int:
    now = figures.measure()
    print(f"{now.package} instructions per package, {now.ratio:.3f} of the reference")
    verdict = figures.compare(now, figures.read()) if figures.FILE.exists() else None
    if verdict is not None:
        print(verdict)
    if record:
        figures.write(now)
        print(f"recorded in {figures.FILE.name}")
        return 0
    return int(verdict is None or verdict.has_grown or verdict.has_fallen)


def _show_parts() -> int:
    counted = count(*_PARTS)
    whole = counted["package"]
    rows = {
        "reading: JSON, shape, addresses": counted["reading"],
        "definition, hash, text to keep": counted["verification"] - counted["reading"] - counted["signature"],
        "signature, around the library": counted["signature"] - counted["library"],
        "signature, libsecp256k1": counted["library"],
        "judgement": whole - counted["verification"],
        "together": whole,
    }
    for name, instructions in rows.items():
        print(f"{name:<32} {instructions:>9} {instructions / whole:>6.1%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
