"""`sluice wallet …` beside a running worker."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from shared.obyte.agents.base import CHANNELS_BASE_AA
from shared.obyte.keys import KeyPair, device_key, payment_key
from shared.settings import load_settings
from sluice.cli.application import app
from sluice.machine.vault import open_vault
from tests.integration.worker.conftest import expected_errors, world
from tests.integration.worker.wallet_support import paid_to, wallet_of
from tests.vectors.obyte_vectors import cases

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.worker.support import World

__all__ = ["expected_errors", "world"]

PAYEE = KeyPair(bytes([50]) * 32).address
IMPORTED = [case for case in cases("keys") if "seed_hex" in case and not case["passphrase"]]


@pytest.fixture(autouse=True)
def _own_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLUICE_DATABASE_URL", database_url)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers, root.level = handlers, level


async def sluice(*words: str) -> Any:
    """What a command prints as JSON, or the line of its complaint."""
    result = await asyncio.to_thread(CliRunner().invoke, app, [*words])
    if result.exit_code:
        assert result.exit_code in {1, 2, 3}, result.output
        return result.stderr
    return json.loads(result.stdout) if "--json" in words else result.stdout


async def test_money_is_sent_once_for_each_key(world: World) -> None:
    async with world.running() as runtime:
        await wallet_of(world, runtime)
        first = await sluice("wallet", "send", PAYEE, "250000", "--key", "rent", "--json")
        again = await sluice("wallet", "send", PAYEE, "250000", "--key", "rent", "--json")
        assert first == again
        assert first["state"] == "succeeded"
        other = await sluice("wallet", "send", PAYEE, "250001", "--key", "rent")
        assert "idempotency key" in other
    assert paid_to(world, PAYEE) == [(first["unit"], 250_000)]


async def test_everything_is_sent_but_the_reserve_and_the_books_say_so(world: World) -> None:
    peer = await world.peer()
    async with world.running() as runtime:
        await world.open(peer)
        await world.pay(peer, 4_000)
        wallet = await wallet_of(world, runtime)
        sent = await sluice("wallet", "send", PAYEE, "--all", "--json")
        balance = (await sluice("wallet", "balance", "--json"))["base"]
        assert balance["stable"] + balance["pending"] == wallet.coins.balance().total == 200_000
        assert (balance["reserve"], balance["at_stake"]) == (200_000, 4_000)
        [unit] = await sluice("wallet", "history", "--json")
        assert (unit["purpose"], unit["unit"], unit["reference"]) == (
            "withdraw",
            sent["unit"],
            f"command-{sent['command']}",
        )
        assert unit["fees"] == 10_000_000 - 200_000 - paid_to(world, PAYEE)[0][1]
        assert sent["unit"] in await sluice("wallet", "history")
        assert "at stake" in await sluice("wallet", "balance")
        assert "reserve_needed" in await sluice("wallet", "send", PAYEE, "1")


async def test_an_agent_is_no_payee_unless_one_says_so(world: World) -> None:
    peer = await world.peer()
    async with world.running() as runtime:
        await world.open(peer)
        await wallet_of(world, runtime)
        assert "payee_is_agent" in await sluice("wallet", "send", peer.channel, "20000")
        assert (await sluice("wallet", "send", peer.channel, "20000", "--to-agent", "--json"))["state"] == "succeeded"


async def test_an_agent_of_ours_is_published(world: World) -> None:
    async with world.running() as runtime:
        await wallet_of(world, runtime)
        published = await sluice("wallet", "publish-agent", "--json")
        assert published["state"] == "succeeded"
        assert "unknown_agent_version" in await sluice("wallet", "publish-agent", "--version", "9.9")


async def test_an_agent_that_is_there_already_is_no_failure(world: World) -> None:
    async with world.running() as runtime:
        await wallet_of(world, runtime)
        async with world.database.transaction() as conn:
            await conn.execute("UPDATE instance SET agent_versions = '{1.1,1.2}'")
        told = await sluice("wallet", "publish-agent", "--json")
    assert told["state"] == "already_published"
    assert CHANNELS_BASE_AA["1.2"] in told["reason"]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([PAYEE], "say how much"),
        ([PAYEE, "5", "--all"], "say how much"),
        ([PAYEE[:-1] + "A", "5"], "is no address"),
        ([PAYEE, "5", "--asset", "gold"], 'asset: must be "base" or the 44 characters of an asset'),
        ([PAYEE, str(10**16)], "amount"),
    ],
)
async def test_what_cannot_be_sent_is_refused_before_anything_is_asked(words: list[str], complaint: str) -> None:
    assert complaint in await sluice("wallet", "send", *words)


async def test_without_a_worker_one_is_told_so(world: World) -> None:
    complaint = await sluice("wallet", "send", PAYEE, "5", "--timeout", "1")
    assert "is still queued" in complaint
    assert "`sluice commands wait 1`" in complaint
    assert (await sluice("wallet", "send", PAYEE, "5", "--no-wait", "--json"))["state"] == "queued"


# ----------------------------------------------------------------------------------------------------------- the seed


@pytest.mark.parametrize("case", IMPORTED, ids=lambda case: case["name"])
async def test_an_existing_seed_is_imported_with_the_addresses_it_had(tmp_path: Path, case: Any) -> None:
    seed = tmp_path / "seed.txt"
    seed.write_text(f"\n {case['mnemonic']}\n")
    told = await sluice("wallet", "init", "--mnemonic-file", str(seed))
    expected = next(address for address in case["addresses"] if address["path"].endswith("/0/0"))
    assert expected["address"] in told
    assert (await sluice("wallet", "address")).strip() == expected["address"]
    key = open_vault(load_settings())
    assert key.private_key.hex() == expected["private_key_hex"]
    assert payment_key(case["mnemonic"]).address == key.address
    assert device_key(case["mnemonic"]).device_address == case["device"]["device_address"]


async def test_a_mistyped_seed_is_refused_and_no_word_of_it_is_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seed = tmp_path / "seed.txt"
    seed.write_text("abandon abandn abandon abandon abandon abandon abandon abandon abandon abandon abandon zboat")
    complaint = await sluice("wallet", "init", "--mnemonic-file", str(seed))
    assert "words 2, 12 are not in the English list" in complaint
    assert not any(word in complaint + caplog.text for word in ("abandn", "zboat", "abandon"))
    assert not load_settings().wallet_file.exists()
