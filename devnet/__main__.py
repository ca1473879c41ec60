"""Run the local ledger: `python -m devnet`."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import textwrap
from typing import TYPE_CHECKING

from devnet.private_commands import PRIVATE_COMMANDS
from devnet.server import DEFAULT_PORT, Devnet
from shared.obyte.agents import PUBLISHABLE_VERSIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_HUBS = 16
_EPILOG = """
The ledger is kept in memory only: it is gone when the process ends. Every start makes a new genesis unit; with --seed
the keys of order provider and faucet are the same each time. Money comes from the faucet: "sluice devnet fund", or the
request devnet/fund on the hub's socket.

Of devnet/skip_time: by default time passes for the agents alone, so that channels time out. With agents_only false it
passes for the whole ledger: every running client whose clock stays behind then refuses its units as coming from the
future, and does nothing until its clock has caught up. Use that only where the clients' clocks are set too.

Private requests, for tests, are answered to clients on this machine only. Faults are those of the hub that is asked:
"""


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; return the exit code."""
    options = _parser().parse_args(arguments)
    devnet = Devnet(
        options.port,
        options.stabilise_after,
        host=options.host,
        seed=options.seed.encode() if options.seed else None,
        tps_interval=options.tps_interval,
    )
    for version in options.publish_agent:
        devnet.ledger.treasury.publish(version)
    devnet.ledger.settle()
    return asyncio.run(_run(devnet, options.hubs))


async def _run(devnet: Devnet, hubs: int) -> int:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    try:
        await devnet.start()
        for offset in range(1, hubs):
            await devnet.add_hub(devnet.port + offset)
    except OSError as error:
        sys.stderr.write(f"devnet cannot listen: {error}\n")
        await devnet.stop()
        return 1
    urls = ", ".join(door.url for door in devnet.doors)
    sys.stdout.write(f"devnet listening on {urls}, order provider {devnet.ledger.provider_address}\n")
    sys.stdout.flush()
    await stopped.wait()
    await devnet.stop()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="devnet",
        description="A local Obyte ledger with a hub, an order provider, a faucet and the payment channel agent.",
        epilog=_EPILOG + "\n".join(_private_requests()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument("--port", type=_port, default=DEFAULT_PORT, help="port, 0 for any (default %(default)s)")
    parser.add_argument(
        "--stabilise-after",
        type=_seconds,
        default=1.0,
        metavar="SECONDS",
        help="how long after its arrival a unit is stable and provable (default %(default)s)",
    )
    parser.add_argument(
        "--hubs", type=_hubs, default=1, help="hubs of the one ledger, on ports from --port on (default %(default)s)"
    )
    parser.add_argument("--seed", help="any text, to get the same keys each time")
    parser.add_argument(
        "--publish-agent",
        action="append",
        default=[],
        choices=sorted(PUBLISHABLE_VERSIONS),
        metavar="VERSION",
        help="publish a channels agent besides 1.1 at the start; may be repeated (%(choices)s)",
    )
    parser.add_argument(
        "--tps-interval",
        type=_rate,
        default=1_000.0,
        metavar="UNITS_PER_SECOND",
        help="load at which fees for arrival start to hurt; lower it to meet fee spikes (default %(default)s)",
    )
    return parser


def _private_requests() -> Iterator[str]:
    for name, command in PRIVATE_COMMANDS.items():
        told = " ".join((command.__doc__ or "").partition("\n\n")[0].split())
        yield from textwrap.wrap(f"{name:24} {told}", 118, initial_indent="  ", subsequent_indent=" " * 27)


def _hubs(text: str) -> int:
    number = int(text)
    if not 1 <= number <= MAX_HUBS:
        raise argparse.ArgumentTypeError(f"must be a number from 1 to {MAX_HUBS}")
    return number


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65_535:  # noqa: PLR2004 (the range of ports)
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return port


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError("must be a number of at least 0")
    return number


def _rate(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError("must be a number above 0")
    return number


if __name__ == "__main__":
    sys.exit(main())
