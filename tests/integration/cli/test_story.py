from __future__ import annotations

import json
import logging
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from sluice.cli.application import app
from tests.running import settings_for, sluice_up, variables_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from shared.settings import Settings


@pytest.fixture
def settings(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings of a stack of its own, in the environment for the commands of this process."""
    settings = settings_for(home).model_copy(update={"default_channel_timeout_s": 900})
    for name, value in variables_of(settings).items():
        monkeypatch.setenv(name, value)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield settings
    root.handlers, root.level = handlers, level


def run(*words: str) -> Any:
    """Run a command beside the running stack; in this process, because starting one takes longer than the command."""
    return CliRunner().invoke(app, list(words))


def sluice(*words: str) -> Any:
    """Run a command that prints JSON."""
    done = run(*words, "--json")
    assert done.exit_code == 0, (words, done.stderr, done.exception)
    return json.loads(done.stdout)


def process(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a person does."""
    return subprocess.run([sys.executable, "-m", "sluice.cli", *words], capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_payment_from_the_faucet_to_the_closing_by_commands_alone(settings: Settings, home: Path) -> None:
    with sluice_up(settings):
        payer = sluice("wallet", "address", "--payer")["address"]
        poor = process("channels", "open", settings.local_url, "1000000")
        sluice("devnet", "fund", payer, "3000000")
        opened = sluice("channels", "open", settings.local_url, "1000000")
        first = json.loads(process("pay", settings.local_url, "1000", "--message", "order 7", "--json").stdout)
        again = sluice("resend", str(first["payment"]))
        sluice("pay", opened["aa_address"], "500")
        too_much = run("pay", settings.local_url, "5000000")
        asked = sluice("requests", "create", "700", "--memo", "tea")
        declined = CliRunner().invoke(app, ["pay", asked["url"]], input="n\n")
        sluice("pay", asked["url"], "--yes")
        again_asked = run("pay", asked["url"], "--yes")

        assert (poor.returncode, poor.stderr.count("\n")) == (1, 1)
        assert f"send funds to {payer}, here with `sluice devnet fund {payer} 1100000`" in poor.stderr

        assert (opened["status"], opened["deposited_by_me"]) == ("open", 1_000_000)
        assert opened["timeout_s"] == 900
        assert opened["version"] == "1.2"
        assert opened["at_risk"] == 0
        published = sluice("wallet", "publish-agent")
        assert published["state"] == "already_published"
        assert "version 1.2 is on this network already" in published["reason"]
        assert [first["duplicate"], again["duplicate"]] == [False, True]
        assert first["response"] == again["response"]
        assert too_much.exit_code == 1
        assert too_much.stderr.count("\n") == 1

        assert "Pay 700 bytes to" in declined.stderr
        assert 'for "tea"' in declined.stderr
        assert [declined.exit_code, again_asked.exit_code] == [1, 1]
        assert "the request is paid" in again_asked.stderr
        assert sluice("requests", "show", asked["id"])["state"] == "paid"

        received = sluice("payments", "list")
        assert [payment["payment_amount"] for payment in received] == [700, 500, 1000]
        assert received[2]["message"] == "order 7"
        assert sluice("channels", "list")[0]["spent_by_peer"] == 2200
        assert sluice("wallet", "balance", "--payer")["base"]["stable"] < 2_000_000

        assert (home / "payer" / "devnet").stat().st_mode & 0o777 == 0o700  # signed packages are in there

        assert "fail" not in {finding["verdict"] for finding in sluice("doctor")}
        # Both ends of the channel are here: which one deposits must be said. The receiver's worker does it here.
        unclear = run("channels", "deposit", opened["aa_address"], "50000")
        assert "say --receiver or --payer" in unclear.stderr
        worker = sluice("wallet", "address")["address"]
        sluice("devnet", "fund", worker, "3000000")
        ordered = sluice("channels", "deposit", opened["aa_address"], "50000", "--receiver")
        refilled = sluice("channels", "auto-refill", opened["aa_address"], "60000", "--below", "20000")
        assert (ordered["state"], refilled["auto_refill"]) == ("succeeded", "on")

        assert sluice("channels", "close", opened["aa_address"])["state"] == "succeeded"
        assert sluice("channels", "show", opened["aa_address"])["auto_refill_amount"] is None
