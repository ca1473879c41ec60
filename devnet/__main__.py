"""Run the local ledger: `python -m devnet`."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys

from devnet.server import DEFAULT_PORT, Devnet

_EPILOG = """
The ledger is kept in memory only: it is gone when the process ends. Every start makes a new genesis unit; with --seed
the keys of order provider and faucet are the same each time. Money comes from the faucet: "sluice devnet fund", or the
request devnet/fund {address, amount, asset?} on the hub's socket. Further private requests: devnet/issue {cap?},
devnet/stabilise, and devnet/skip_time {seconds, agents_only?}, which lets time pass for the agents alone, so that
channels time out. With agents_only false it passes for the whole ledger: every running client whose clock stays behind
then refuses its units as coming from the future, and does nothing until its clock has caught up.
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
    return asyncio.run(_run(devnet))


async def _run(devnet: Devnet) -> int:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    try:
        await devnet.start()
    except OSError as error:
        sys.stderr.write(f"devnet cannot listen: {error}\n")
        return 1
    sys.stdout.write(f"devnet listening on {devnet.url}, order provider {devnet.ledger.provider_address}\n")
    sys.stdout.flush()
    await stopped.wait()
    await devnet.stop()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="devnet",
        description="A local Obyte ledger with a hub, an order provider, a faucet and the payment channel agent.",
        epilog=_EPILOG,
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
    parser.add_argument("--seed", help="any text, to get the same keys each time")
    parser.add_argument(
        "--tps-interval",
        type=_rate,
        default=1_000.0,
        metavar="UNITS_PER_SECOND",
        help="load at which fees for arrival start to hurt; lower it to meet fee spikes (default %(default)s)",
    )
    return parser


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
