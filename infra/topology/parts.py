"""One process of the topology, as a handle to start, stop, kill, freeze and thaw it."""

from __future__ import annotations

import asyncio
import signal
import time
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families

from sluice.machine.processes import Child, start_part

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from shared.settings import Settings

START_BOUND_S = 60.0
STOP_BOUND_S = 45.0
"""Longer than a front drains (30 s) and than a worker finishes the step in hand (10 s)."""
_PROBE_PAUSE_S = 0.05
_PROBE_TIMEOUT_S = 2.0


class PartError(Exception):
    """A part does not start or is not there; the message names it and says what its log ends with."""

    code = "part_failed"


class Hands:
    """The one thread that starts processes: the kernel ends them with the thread that forked them."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="topology-hands")

    async def do(self, work: Callable[[], Child]) -> Child:
        """Start a process. What blocks here keeps no event loop waiting."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        """End the thread, and with it whatever it started that still runs."""
        self._pool.shutdown()


class Part(ABC):
    """A process with a name. Between `stop` or `kill` and `start` it is away; its address stays the same."""

    def __init__(self, name: str, hands: Hands) -> None:
        self.name = name
        self._hands = hands
        self._child: Child | None = None
        self._is_frozen = False

    @abstractmethod
    def launch(self) -> Child:
        """Start the process and return at once. Called in the thread of `Hands`."""

    @abstractmethod
    async def unready(self) -> str:
        """Return why it does not serve yet; an empty text when it does."""

    @property
    def is_running(self) -> bool:
        """Whether the process lives, frozen or not."""
        return self._child is not None and self._child.exit_status is None

    @property
    def pid(self) -> int:
        """The process number. Raises PartError when it does not run."""
        if self._child is None or not self.is_running:
            raise PartError(f"{self.name} does not run")
        return self._child.pid

    @property
    def log(self) -> Path | None:
        """The file it writes to; None before its first start."""
        return None if self._child is None else self._child.log

    async def start(self, *, ready: bool = True) -> None:
        """Start it; wait until it serves, unless `ready` is false. Raises PartError after `START_BOUND_S`."""
        if self.is_running:
            raise PartError(f"{self.name} runs already")
        self._is_frozen = False
        self._child = await self._hands.do(self.launch)
        if ready:
            await self.wait_ready()

    async def wait_ready(self, within_s: float = START_BOUND_S) -> None:
        """Wait until it serves. Raises PartError when it ends instead, or does not in time."""
        deadline = time.monotonic() + within_s
        while reason := await self.unready():
            if not self.is_running:
                raise PartError(f"{self.name} ended{self._last_words()}")
            if time.monotonic() > deadline:
                raise PartError(f"{self.name} is not ready after {within_s:g} s: {reason}{self._last_words()}")
            await asyncio.sleep(_PROBE_PAUSE_S)

    async def stop(self, how: int = signal.SIGTERM, *, within_s: float = STOP_BOUND_S) -> bool:
        """Ask it to stop and wait; kill it after `within_s`. Return whether it stopped when asked, or was away."""
        if self._child is None or not self.is_running:
            return True
        self.thaw()
        self._child.ask_to_stop(how)
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            if self._child.exit_status is not None:
                return True
            await asyncio.sleep(_PROBE_PAUSE_S)
        self.kill()
        return False

    async def restart(self) -> None:
        """Stop it as an operator would, and start it again."""
        await self.stop()
        await self.start()

    def kill(self) -> None:
        """Kill it with all its processes, without a warning (SIGKILL)."""
        if self._child is None or not self.is_running:
            return
        family = self._family()
        self._child.kill()
        for process in family:
            _signal(process, signal.SIGKILL)
        self._is_frozen = False

    def freeze(self) -> None:
        """Stop the time for all its processes (SIGSTOP): sockets stay open, nobody answers."""
        for process in self._family():
            _signal(process, signal.SIGSTOP)
        self._is_frozen = True

    def thaw(self) -> None:
        """Let it go on as if nothing had been (SIGCONT)."""
        if self._is_frozen:
            for process in self._family():
                _signal(process, signal.SIGCONT)
            self._is_frozen = False

    def _family(self) -> list[psutil.Process]:
        """The process and all that descend from it. Those hold their numbers: a number used anew is not taken."""
        main = psutil.Process(self.pid)
        return [main, *main.children(recursive=True)]

    def _last_words(self) -> str:
        return "" if self._child is None else f"\nits log {self._child.log} ends with:\n{self._child.last_words()}"


class Program(Part):
    """A part that is our own Python with some words, and settings of its own."""

    def __init__(self, name: str, words: list[str], settings: Settings, hands: Hands) -> None:
        super().__init__(name, hands)
        self.settings = settings
        self._words = words

    def launch(self) -> Child:
        """Start it."""
        return start_part(self.name, ["-m", "sluice.cli", *self._words], self.settings)


class Front(Program):
    """`sluice front` on a port of its own. `url`: its own address, which nginx passes requests to; `words`: options."""

    def __init__(self, name: str, port: int, settings: Settings, hands: Hands, *, words: Sequence[str] = ()) -> None:
        super().__init__(name, ["front", "--port", str(port), *words], settings, hands)
        self.address = f"127.0.0.1:{port}"
        self.url = f"http://{self.address}/"

    async def unready(self) -> str:
        """Ask its `/readyz`."""
        answer = await _get(f"{self.url}readyz")
        return "" if isinstance(answer, httpx.Response) and answer.is_success else _said(answer)


class Worker(Program):
    """`sluice worker`. `metrics_url`: where Prometheus reads it."""

    def __init__(self, name: str, port: int, settings: Settings, hands: Hands) -> None:
        given = settings.model_copy(update={"worker_metrics_port": port})
        super().__init__(name, ["worker"], given, hands)
        self.metrics_url = f"http://127.0.0.1:{port}/metrics"

    async def unready(self) -> str:
        """Ask its metrics: they are served by the active one and by those that stand by."""
        answer = await _get(self.metrics_url)
        return "" if isinstance(answer, httpx.Response) and answer.is_success else _said(answer)

    async def is_active(self) -> bool:
        """Whether it says that it holds the lease; a frozen one says nothing."""
        answer = await _get(self.metrics_url)
        if not isinstance(answer, httpx.Response):
            return False
        samples = [sample for family in text_string_to_metric_families(answer.text) for sample in family.samples]
        return any(sample.name == "sluice_lease_held" and sample.value == 1 for sample in samples)


async def _get(url: str) -> httpx.Response | httpx.HTTPError:
    try:
        async with httpx.AsyncClient(timeout=_PROBE_TIMEOUT_S, trust_env=False) as client:
            return await client.get(url)
    except httpx.HTTPError as error:
        return error


def _said(answer: httpx.Response | httpx.HTTPError) -> str:
    return answer.text[:500] if isinstance(answer, httpx.Response) else str(answer) or type(answer).__name__


def _signal(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return  # it has ended meanwhile, which is the same to whoever wanted it frozen or gone
