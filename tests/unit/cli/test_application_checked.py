"""What `sluice doctor` says about the application that is asked what to answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from shared.settings import Settings
from shared.webhooks.signing import Secret
from sluice.machine.application import check_application
from sluice.machine.findings import Verdict

if TYPE_CHECKING:
    from pathlib import Path

    from sluice.machine.findings import Finding

SECRET = Secret(b"s" * 32)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "answer.secret"
    file.write_text(SECRET.text)
    file.chmod(0o600)
    return file


def _findings(file: Path, *addresses: str, url: str = "https://shop.example/pay", **more: Any) -> list[Finding]:
    async def resolve(_: str) -> list[str]:
        return list(addresses)

    settings = Settings(answer_url=url, answer_secret_file=file, **more)

    async def examine() -> list[Finding]:
        return [finding async for finding in check_application(settings, resolve)]

    return asyncio.run(examine())


def test_one_that_could_be_asked(file: Path) -> None:
    [found] = _findings(file, "93.184.216.34")
    assert (found.verdict, found.found) == (Verdict.OK, "https://shop.example is asked at 93.184.216.34")


@pytest.mark.parametrize(
    ("addresses", "said", "advice"),
    [
        (["10.1.2.3"], "not a public or allowed address", "SLUICE_WEBHOOK_ALLOWED_NETWORKS"),
        ([], "no address", "SLUICE_ANSWER_URL"),
    ],
)
def test_one_that_leads_where_it_must_not_be_asked(file: Path, addresses: list[str], said: str, advice: str) -> None:
    [found] = _findings(file, *addresses)
    assert found.verdict is Verdict.FAIL
    assert said in found.found
    assert advice in found.advice


def test_one_in_an_allowed_network(file: Path) -> None:
    given = {"url": "http://shop.internal/", "webhook_allowed_networks": ("10.1.0.0/16",)}
    [found] = _findings(file, "10.1.2.3", **given)
    assert found.verdict is Verdict.OK
    [found] = _findings(file, "93.184.216.34", **given)
    assert found.verdict is Verdict.FAIL


def test_a_secret_that_is_missing_wrong_or_readable_by_others(file: Path) -> None:
    file.chmod(0o644)
    findings = _findings(file, "93.184.216.34")
    assert [found.verdict for found in findings] == [Verdict.OK, Verdict.WARN]
    assert findings[1].advice == f"chmod 600 {file}"
    file.write_text("hunter2")
    [found] = _findings(file, "93.184.216.34")
    assert (found.verdict, "hunter2" in found.found) == (Verdict.FAIL, False)
    file.unlink()
    [found] = _findings(file, "93.184.216.34")
    assert "cannot be read" in found.found


async def test_nothing_is_said_when_nobody_is_asked() -> None:
    assert [finding async for finding in check_application(Settings())] == []
