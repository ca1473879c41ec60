"""CPU time of whole trees of processes, read from outside."""

from __future__ import annotations

import contextlib
import sys
import time
from dataclasses import dataclass

import psutil

_PROCESS_WIDE = 2
"""The kind of a clock that runs with all threads of a process (Linux, `CPUCLOCK_SCHED`)."""


@dataclass(frozen=True, slots=True)
class CpuMeter:
    """CPU seconds used so far by a process and its descendants, the dead ones included."""

    pid: int

    def seconds(self) -> float:
        """Return the sum over the whole tree of processes.

        The living are read to the nanosecond, the dead to the tick of the kernel's accounting (10 ms).
        """
        root = psutil.Process(self.pid)
        total = 0.0
        for process in [root, *root.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess, OSError):  # it has just ended: then its parent has its time
                times = process.cpu_times()
                own = _clock(process.pid) if sys.platform == "linux" else times.user + times.system
                total += own + times.children_user + times.children_system
        return total


def _clock(pid: int) -> float:
    # What clock_getcpuclockid(3) computes; Python gives it for threads only.
    return time.clock_gettime(~pid << 3 | _PROCESS_WIDE)
