"""The systemd units: systemd's own checker, how exposed they are, and names that the code really has."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from front.server import stop_bound_s
from shared.settings import Settings, variable_of
from tests.infra_files import ROOT
from worker.thread import STOP_BOUND_S

if TYPE_CHECKING:
    from pathlib import Path

UNITS = ROOT / "infra/systemd"
INSTANCES = {
    "sluice-front@.service": "sluice-front@6801.service",
    "sluice-worker@.service": "sluice-worker@1.service",
    "sluice-migrate.service": "sluice-migrate.service",
}
MOST_EXPOSED = 20  # of 100


def analyze(*words: str) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("there is no systemd-analyze")
    done = subprocess.run([program, *words], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout[-3000:]


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units under the names of instances, with a program that exists, and the drop-in beside them."""
    for name, instance in INSTANCES.items():
        text = (UNITS / name).read_text().replace("/opt/sluice/bin/sluice", "/bin/true")
        (tmp_path / instance).write_text(text)
    return tmp_path


def test_every_unit_is_tested() -> None:
    assert {file.name for file in UNITS.glob("*.service")} == set(INSTANCES)


@pytest.mark.parametrize("instance", INSTANCES.values())
def test_systemd_takes_it(installed: Path, instance: str) -> None:
    analyze("verify", "--man=no", str(installed / instance))


def test_systemd_takes_the_drop_in(installed: Path) -> None:
    place = installed / "sluice-front@6801.service.d"
    place.mkdir()
    text = (UNITS / "sluice-front@.service.d/example.conf").read_text()
    (place / "example.conf").write_text(text.replace("/opt/sluice/bin/sluice", "/bin/true"))
    analyze("verify", "--man=no", str(installed / "sluice-front@6801.service"))


@pytest.mark.parametrize("instance", ["sluice-front@6801.service", "sluice-worker@1.service"])
def test_what_runs_all_day_is_well_shut_in(installed: Path, instance: str) -> None:
    analyze("security", "--offline=yes", f"--threshold={MOST_EXPOSED}", str(installed / instance))


@pytest.mark.parametrize("name", INSTANCES)
def test_settings_are_ones_we_know_and_secrets_are_credentials(name: str) -> None:
    text = (UNITS / name).read_text()
    known = {variable_of(setting) for setting in Settings.model_fields}
    lines = re.findall(r"^Environment=(.*)$", text, re.MULTILINE)
    given = {word.partition("=")[0] for line in lines for word in line.split()}
    assert given <= known
    assert "SLUICE_SECRETS_DIR=%d" in text
    credentials = set(re.findall(r"^LoadCredential=([^:]+):", text, re.MULTILINE))
    assert "SLUICE_DATABASE_URL" in credentials
    assert credentials - {"wallet.passphrase"} <= known
    assert ("wallet.passphrase" in credentials) == ("worker" in name)


def test_nobody_is_killed_before_he_is_done() -> None:
    def bound_s(name: str) -> int:
        return int(re.findall(r"^TimeoutStopSec=(\d+)$", (UNITS / name).read_text(), re.MULTILINE)[0])

    assert bound_s("sluice-front@.service") > stop_bound_s(Settings())
    assert bound_s("sluice-worker@.service") > STOP_BOUND_S
