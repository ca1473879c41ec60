"""The command: `python -m load_tests.faults [SCENARIO …]`."""

from __future__ import annotations

import asyncio
import json
import os
import random
import secrets
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from infra.topology import PartError, Topology
from load_tests.faults.campaign import Effort, Outcome, play
from load_tests.faults.disks import SkippedError
from load_tests.faults.load import Mix
from load_tests.faults.scenarios import scenarios
from load_tests.faults.stage import OVERRIDES, staged

FASTER_LEDGER_S = 0.2


def main(  # noqa: PLR0913, PLR0917 - a command has options
    names: Annotated[list[str] | None, typer.Argument(metavar="[SCENARIO]...", help="By default all of them.")] = None,
    payments: Annotated[int, typer.Option(help="At least so many payments with receipts in each scenario.")] = 3_000,
    strikes: Annotated[int | None, typer.Option(help="At least so many faults in each; by default a few.")] = None,
    payers: Annotated[int, typer.Option()] = 20,
    channels: Annotated[int, typer.Option(help="Of all payers together.")] = 200,
    fronts: Annotated[int, typer.Option()] = 3,
    per_second: Annotated[float, typer.Option(help="Payments per second; 0: as many as come back.")] = 0,
    pause: Annotated[float, typer.Option(help="Seconds between two faults, on the average.")] = 0.5,
    bound: Annotated[float, typer.Option(help="Seconds until a scenario that does not end has failed.")] = 900,
    seed: Annotated[int | None, typer.Option(help="Repeats the choices of a run that has printed it.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file too.")] = None,
    list_them: Annotated[bool, typer.Option("--list", help="List the scenarios and do nothing.")] = False,  # noqa: FBT002
) -> None:
    """Let payments flow while the receiver's parts are killed, frozen, cut off and replaced; then hold all to account.

    Exit status 1 if a payment with a receipt is missing, anything was credited twice, the auditor objects, a closing
    paid another sum than the receipts', or a request failed in a scenario that spares payers.

    Example: python -m load_tests.faults kills --payments 100000 --strikes 100 --pause 4
    """
    known = scenarios()
    if list_them:
        for scenario in known.values():
            print(f"{scenario.name:<12} {scenario.what}")
        return
    for name in names or ():
        if name not in known:
            raise typer.BadParameter(f"there is no scenario {name}; there are {', '.join(known)}")
    seed = secrets.randbelow(1_000_000) if seed is None else seed
    print(f"seed {seed}", flush=True)
    effort = Effort(payments, bound, strikes, pause, Mix(per_second=per_second))
    outcomes = asyncio.run(_campaign(names or list(known), effort, seed, payers, channels, fronts))
    if json_file is not None:
        json_file.write_text(json.dumps([_figures(outcome) for outcome in outcomes], indent=1) + "\n")
    if any(outcome.faults for outcome in outcomes):
        raise typer.Exit(1)


async def _campaign(
    names: list[str], effort: Effort, seed: int, payers: int, channels: int, fronts: int
) -> list[Outcome]:
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {text}", flush=True)

    known, outcomes = scenarios(), []
    with tempfile.TemporaryDirectory(prefix="sluice-faults-") as temporary:
        os.chmod(temporary, 0o711)  # noqa: S103, PTH101 - the servers' own user passes
        say("starting")
        async with (
            Topology(
                Path(temporary) / "home", fronts=fronts, stabilise_after_s=FASTER_LEDGER_S, overrides=OVERRIDES
            ) as topology,
            staged(topology, payers=payers, channels=channels, chance=random.Random(seed), say=say) as stage,
        ):
            for name in names:
                try:
                    outcomes.append(await play(stage, known[name], effort))
                except SkippedError as reason:
                    say(f"    left out: {reason}")
                except (PartError, TimeoutError) as error:
                    say(f"    FAILED: {error}")
                    raise
    return outcomes


def _figures(outcome: Outcome) -> dict[str, Any]:
    tally = outcome.tally
    return {
        "scenario": outcome.scenario.name,
        "seconds": round(outcome.seconds, 1),
        "strikes": outcome.strikes,
        "done": outcome.done,
        "payments": tally.payments,
        "requests": tally.raw,
        "sent_again": tally.resent,
        "without_a_receipt": tally.failed,
        "failures": tally.failures,
        "longest_pause_s": round(tally.longest_gap_s, 2),
        "faults": outcome.faults,
    }


if __name__ == "__main__":
    typer.run(main)
