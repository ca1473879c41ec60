from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.running import settings_for, sluice_up, variables_of

if TYPE_CHECKING:
    from pathlib import Path

    from shared.settings import Settings


def sluice(settings: Settings, *words: str) -> Any:
    """Run a command that prints JSON beside the running stack."""
    done = run(settings, *words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def run(settings: Settings, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sluice.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=variables_of(settings))


@pytest.mark.slow
def test_a_payment_from_the_faucet_to_the_closing_by_commands_alone(home: Path) -> None:
    settings = settings_for(home).model_copy(update={"default_channel_timeout_s": 900})
    with sluice_up(settings):
        payer = sluice(settings, "wallet", "address", "--payer")["address"]
        poor = run(settings, "channels", "open", settings.local_url, "1000000")
        sluice(settings, "devnet", "fund", payer, "3000000")
        opened = sluice(settings, "channels", "open", settings.local_url, "1000000")
        first = sluice(settings, "pay", settings.local_url, "1000", "--message", "order 7")
        again = sluice(settings, "resend", str(first["payment"]))
        sluice(settings, "pay", opened["aa_address"], "500")
        too_much = run(settings, "pay", settings.local_url, "5000000")

        assert (poor.returncode, poor.stderr.count("\n")) == (1, 1)
        assert f"send funds to {payer}, here with `sluice devnet fund {payer} 1100000`" in poor.stderr

        assert (opened["status"], opened["deposited_by_me"]) == ("open", 1_000_000)
        assert opened["timeout_s"] == 900
        assert opened["version"] == "1.2"
        assert opened["at_risk"] == 0
        published = run(settings, "wallet", "publish-agent")
        assert published.returncode == 1
        assert "version 1.2 is on this network already" in published.stderr
        assert [first["duplicate"], again["duplicate"]] == [False, True]
        assert first["response"] == again["response"]
        assert too_much.returncode == 1
        assert too_much.stderr.count("\n") == 1

        received = sluice(settings, "payments", "list")
        assert [payment["payment_amount"] for payment in received] == [500, 1000]
        assert received[1]["message"] == "order 7"
        assert sluice(settings, "channels", "list")[0]["spent_by_peer"] == 1500
        assert sluice(settings, "wallet", "balance", "--payer")["base"]["stable"] < 2_000_000

        assert (home / "payer" / "devnet").stat().st_mode & 0o777 == 0o700  # signed packages are in there

        assert "fail" not in {finding["verdict"] for finding in sluice(settings, "doctor")}
        # Both ends of the channel are here: which one deposits must be said. The receiver's worker does it here.
        unclear = run(settings, "channels", "deposit", opened["aa_address"], "50000")
        assert "say --receiver or --payer" in unclear.stderr
        worker = sluice(settings, "wallet", "address")["address"]
        sluice(settings, "devnet", "fund", worker, "3000000")
        ordered = sluice(settings, "channels", "deposit", opened["aa_address"], "50000", "--receiver")
        refilled = sluice(settings, "channels", "auto-refill", opened["aa_address"], "60000", "--below", "20000")
        assert (ordered["state"], refilled["auto_refill"]) == ("succeeded", "on")

        assert sluice(settings, "channels", "close", opened["aa_address"])["state"] == "succeeded"
        assert sluice(settings, "channels", "show", opened["aa_address"])["auto_refill_amount"] is None
