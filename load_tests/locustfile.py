"""Locust users that are real payers: each has a key and a channel of his own, and keeps his receipts.

On a receiver that runs on this machine with its local ledger (`sluice up`), from the repository's root:

    export SLUICE_LOAD_KEY=$(sluice keys create --scope read --name load)
    locust -f load_tests/locustfile.py --headless --profile burst --run-time 30s --csv burst --html burst.html

Without `--headless` there is a page to start runs from: http://127.0.0.1:8089. `python -m load_tests.crowd` starts a
whole receiver for a run. Exit status: 0, 1 when a request failed, 2 when the run was refused or could not begin, 3 when
a receipt is missing, books differ, or a closing paid another sum. docs/load_testing.md tells more.
"""

from __future__ import annotations

import logging
import random
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from locust import LoadTestShape, User, events, task
from locust.exception import StopUser
from locust.runners import LocalRunner

from load_tests.crowd.books import DoorError
from load_tests.crowd.line import Line
from load_tests.crowd.profiles import Profile, RefusedError, check_bounds, check_loopback, profile_named
from load_tests.crowd.run import Run, RunError
from load_tests.faults.wire import Answer, Kind
from shared.channels.errors import InsufficientFundsError

if TYPE_CHECKING:
    from locust.argument_parser import LocustArgumentParser
    from locust.env import Environment

    from load_tests.faults.payers import LoadChannel, Package

AGAIN = "pay, the same again"
URL = "http://127.0.0.1:6800"
HUB = "ws://127.0.0.1:6611"
CONFIRMED_FROM = 2_000
STOP_S = 15
"""How long users may take to finish the payment in hand when the run ends."""
GIVE_UP_S = 30.0
"""How long a payer asks what became of a payment before he waits a little; later he asks again."""
CSV_S = 1.2
"""Locust writes its tables once a second, and not in the end: what came last would be missing."""
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 1.0

logger = logging.getLogger(__name__)


class Stage:
    """What users, shape and events of this process share. `run`: the one under way. `began_at`: when payments began.

    `is_over`: nobody begins another payment; locust alone would let some begin and cut them off.
    """

    def __init__(self) -> None:
        self.run: Run | None = None
        self.began_at = 0.0
        self.has_failed = False
        self.is_over = False


STAGE = Stage()


class PaymentFailedError(Exception):
    """One request of a payer had no receipt. It stays a failure, whatever the next one brings."""


class PayingUser(User):
    """Pays, waits for the receipt, and pays again. Until a payment is answered its very bytes are sent again."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._line: Line | None = None
        self._channel: LoadChannel | None = None

    def on_start(self) -> None:
        """Take the channel of a payer who does not pay now; a user without one stops before his first payment."""
        if STAGE.run is not None:
            self._channel = STAGE.run.crowd.take()
            self._line = Line(STAGE.run.url)

    def on_stop(self) -> None:
        """Let another one pay."""
        if self._line is not None:
            self._line.close()
        if STAGE.run is not None and self._channel is not None:
            STAGE.run.crowd.give_back(self._channel)

    def wait_time(self) -> float:
        """Wait as the profile says."""
        return 0.0 if STAGE.run is None else STAGE.run.crowd.pause_s()

    @task
    def pay(self) -> None:
        """Make one payment, or learn what became of the last one."""
        run, channel = STAGE.run, self._channel
        if run is None or channel is None or STAGE.is_over:
            raise StopUser
        try:
            package, is_new = run.crowd.next_package(channel)
        except InsufficientFundsError:
            logger.warning("a payer has spent what he had")
            raise StopUser from None
        name, pause_s, until = "pay" if is_new else AGAIN, _FIRST_PAUSE_S, time.monotonic() + GIVE_UP_S
        while True:
            answer = self._ask(package, name)
            run.crowd.heard(package, answer)
            if answer.kind.is_certain or time.monotonic() > until:
                break
            name = AGAIN
            time.sleep(pause_s * (0.5 + random.random()))
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        if channel.is_stuck:
            raise StopUser

    def _ask(self, package: Package, name: str) -> Answer:
        """Send the bytes once, and count what came of it."""
        if self._line is None:
            raise StopUser
        began, began_s = time.time(), time.perf_counter()
        answer, length = self._line.ask(package.body)
        failed = None if answer.kind is Kind.RECEIPT else PaymentFailedError(f"{answer.kind} {answer.code}".strip())
        self.environment.events.request.fire(
            request_type="POST",
            name=name,
            response_time=(time.perf_counter() - began_s) * 1_000,
            response_length=length,
            exception=failed,
            context={},
            start_time=began,
            url="/post",
        )
        return answer


class ProfileShape(LoadTestShape):
    """As many users as the profile says, from the moment on when all channels are open."""

    use_common_options = True

    def tick(self) -> tuple[int, float] | None:
        """Return how many users there are now, and how fast they come; None at the end."""
        if STAGE.has_failed or self.runner is None:
            return None
        options: Any = self.runner.environment.parsed_options
        profile, payers, seconds = _wanted(options)
        passed_s = time.monotonic() - STAGE.began_at if STAGE.run is not None else 0.0
        if passed_s >= seconds:
            return None
        return profile.payers_at(passed_s, payers), float(options.spawn_rate)


def _add_options(parser: LocustArgumentParser) -> None:
    parser.set_defaults(host=URL, web_host="127.0.0.1", profile="steady")
    parser.add_argument("--hub", default=HUB, env_var="SLUICE_LOAD_HUB", help=f"The local ledger (default: {HUB})")
    parser.add_argument(
        "--read-key", default="", env_var="SLUICE_LOAD_KEY", is_secret=True,
        help="An API key with the scope read, to look for every receipt in the end",
    )  # fmt: skip
    parser.add_argument(
        "--confirmed-from", type=int, default=CONFIRMED_FROM, metavar="BYTES",
        help="What SLUICE_CONFIRM_CLOSINGS_FROM is: closings of channels that have paid less are not waited for",
    )  # fmt: skip
    parser.add_argument("--leave-open", action="store_true", help="Do not close the channels in the end")


def _check(environment: Environment, runner: Any, web_ui: Any, **_: Any) -> None:
    """Refuse what is not allowed before anything is done, and fill in what the profile says."""
    options: Any = environment.parsed_options
    try:
        if type(runner) is not LocalRunner:
            raise RefusedError("one process only: payers, and what they remember, cannot be shared")  # noqa: TRY301
        if web_ui is not None:
            check_loopback(f"http://{options.web_host or '0.0.0.0'}", "http")  # noqa: S104 - what no name stands for
        profile = profile_named(options.profile)
        options.num_users = options.num_users or profile.payers
        options.spawn_rate = options.spawn_rate or profile.spawn_rate
        options.run_time = options.run_time or profile.seconds
        _check_wanted(environment)
    except RefusedError as error:
        print(f"refused: {error}", file=sys.stderr)
        sys.exit(2)
    environment.stop_timeout = environment.stop_timeout or STOP_S
    # As with Ctrl-C the run ends early, and is held to account; locust alone would just be gone.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def _begin(environment: Environment, **_: Any) -> None:
    """Open the channels. What fails here ends the run."""
    options: Any = environment.parsed_options
    STAGE.has_failed = STAGE.is_over = False
    try:
        _check_wanted(environment)
        profile, payers, _seconds = _wanted(options)
        STAGE.run = Run.begun(environment.host or URL, options.hub, options.read_key, profile, payers, tell=logger.info)
    except (RefusedError, RunError, DoorError) as error:
        logger.error("the run cannot begin: %s", error)  # noqa: TRY400 - the message says it all
        STAGE.has_failed = True
        environment.process_exit_code = 2
        return
    environment.stats.clear_all()  # the time of opening is none of the run's
    STAGE.began_at = time.monotonic()


def _stop(**_: Any) -> None:
    STAGE.is_over = True


def _end(environment: Environment, **_: Any) -> None:
    """Hold everything to account."""
    run, STAGE.run, STAGE.has_failed = STAGE.run, None, False
    if run is None:
        return
    options: Any = environment.parsed_options
    status, environment.process_exit_code = environment.process_exit_code, 3  # until all is well in the end
    report = run.end(close=not options.leave_open, confirmed_from=options.confirmed_from)
    report.requests, report.failed = environment.stats.total.num_requests, environment.stats.total.num_failures
    for line in report.lines():
        logger.info(line)
    if options.csv_prefix:
        report.write(Path(f"{options.csv_prefix}_books.json"))
        time.sleep(CSV_S)
    if not report.faults:
        environment.process_exit_code = status


def _leave(environment: Environment, **_: Any) -> None:
    """End the run first when the program is told to leave: its exit status tells how it ended."""
    if STAGE.run is not None and environment.runner is not None:
        environment.runner.stop()


def _wanted(options: Any) -> tuple[Profile, int, float]:
    return profile_named(options.profile), int(options.num_users), float(options.run_time)


def _check_wanted(environment: Environment) -> None:
    """Raise RefusedError for a run that is too large, or not for this machine."""
    options: Any = environment.parsed_options
    check_loopback(environment.host, "http")
    check_loopback(options.hub, "ws")
    _profile, payers, seconds = _wanted(options)
    check_bounds(payers, seconds, float(options.spawn_rate))
    if not options.read_key:
        raise RefusedError(
            "SLUICE_LOAD_KEY is not set: every receipt is looked for in the end, with a key that reads:"
            " sluice keys create --scope read --name load"
        )


_EVENTS: Any = events  # which are not typed
_EVENTS.init_command_line_parser.add_listener(_add_options)
_EVENTS.init.add_listener(_check)
_EVENTS.test_start.add_listener(_begin)
_EVENTS.test_stopping.add_listener(_stop)
_EVENTS.test_stop.add_listener(_end)
_EVENTS.quitting.add_listener(_leave)
