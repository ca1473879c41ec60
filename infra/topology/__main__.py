"""`python -m infra.topology`: the production shape on this machine, until Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from infra.topology.edge import EdgeError
from infra.topology.parts import PartError
from infra.topology.topology import Topology
from shared.settings import SettingsError
from sluice.cli.up import stop_on_signals
from sluice.home import HomeError
from sluice.machine.account import AccountError
from sluice.machine.progress import Steps


def main() -> int:
    """Run it. Exit status: 0 stopped when asked, 1 a part failed."""
    parser = argparse.ArgumentParser(prog="python -m infra.topology", description=__doc__)
    parser.add_argument("--fronts", type=int, default=3, help="fronts behind nginx (default 3)")
    parser.add_argument("--workers", type=int, default=2, help="workers, of which one is active (default 2)")
    parser.add_argument("--home", type=Path, help="where data and logs go; by default a directory that is removed")
    parser.add_argument(
        "--stabilise-after", type=float, default=1.0, metavar="SECONDS", help="until what is posted is final"
    )
    given = parser.parse_args()
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory(prefix="sluice-") as temporary:
        home = given.home or Path(temporary) / "home"
        try:
            topology = Topology(
                home,
                fronts=given.fronts,
                workers=given.workers,
                stabilise_after_s=given.stabilise_after,
                progress=Steps(console),
            )
            asyncio.run(_run(topology, console))
        except (PartError, EdgeError, HomeError, SettingsError, AccountError) as error:
            console.print(str(error), style="red", markup=False)
            return 1
    return 0


async def _run(topology: Topology, console: Console) -> None:
    stop_on_signals()
    try:
        async with topology:
            console.print(
                f"\nSluice runs on {topology.url} and {topology.tls_url}, its ledger on {topology.ledger.url}"
            )
            console.print(f"logs are in {topology.home / 'logs'}; Ctrl-C stops everything", soft_wrap=True)
            for part in topology.parts:
                console.print(f"  {part.name:<10} process {part.pid}")
            try:
                await topology.watch()
            finally:
                console.print("stopping")
    except asyncio.CancelledError:
        console.print("stopped")


if __name__ == "__main__":
    sys.exit(main())
