"""A payer's home: made once, one process at a time, one wallet and one network for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import sluice
from shared.obyte.keystore import KeystoreError
from sluice.home import HomeBusyError
from sluice.payer import Payer
from sluice.payer.errors import LedgerError, WalletError
from tests.integration.payer.conftest import MNEMONIC, PAYER_ADDRESS
from tests.integration.payer.support import BOUND_S, eventually

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from tests.integration.payer.conftest import World


def offline(home: Path, **settings: Any) -> AbstractAsyncContextManager[Payer]:
    return Payer.open(home, **{"hub_url": None, "network": "devnet", **settings})


def test_the_package_offers_the_payer() -> None:
    assert sluice.Payer is Payer
    assert all(getattr(sluice, name) is not None for name in sluice.__all__)
    with pytest.raises(AttributeError):
        _ = sluice.Nobody  # type: ignore[attr-defined]


async def test_a_seed_given_is_kept(tmp_path: Path) -> None:
    async with offline(tmp_path / "home", mnemonic=MNEMONIC) as payer:
        assert payer.address == PAYER_ADDRESS
    async with offline(tmp_path / "home") as payer:
        assert payer.address == PAYER_ADDRESS


async def test_without_a_seed_a_new_one_is_made(tmp_path: Path) -> None:
    async with offline(tmp_path / "a") as one, offline(tmp_path / "b") as other:
        assert one.address != other.address


async def test_a_passphrase_protects_the_seed(tmp_path: Path) -> None:
    async with offline(tmp_path, mnemonic=MNEMONIC, passphrase="correct horse"):
        pass
    assert "abandon" not in (tmp_path / "wallet.json").read_text()
    with pytest.raises(KeystoreError):
        async with offline(tmp_path, passphrase="wrong"):
            pass
    async with offline(tmp_path, passphrase="correct horse") as payer:
        assert payer.address == PAYER_ADDRESS


async def test_one_process_at_a_time(tmp_path: Path) -> None:
    async with offline(tmp_path):
        with pytest.raises(HomeBusyError):
            async with offline(tmp_path):
                pass


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"network": "testnet"}, "another_network"),
        ({"mnemonic": "zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo wrong"}, "another_wallet"),
    ],
)
async def test_a_home_belongs_to_one_wallet_on_one_network(tmp_path: Path, settings: dict[str, Any], code: str) -> None:
    async with offline(tmp_path, mnemonic=MNEMONIC):
        pass
    with pytest.raises(WalletError) as refused:
        async with offline(tmp_path, **settings):
            pass
    assert refused.value.code == code


async def test_payments_on_record_are_not_taken_over_by_a_new_seed(tmp_path: Path) -> None:
    async with offline(tmp_path, mnemonic=MNEMONIC):
        pass
    (tmp_path / "wallet.json").unlink()
    with pytest.raises(WalletError) as refused:
        async with offline(tmp_path):
            pass
    assert refused.value.code == "no_wallet"


async def test_everything_in_the_home_is_private(world: World) -> None:
    async with world.payer() as payer:
        await world.open_channel(payer)
        modes = {path.name: path.stat().st_mode & 0o777 for path in world.home.iterdir()}
    assert set(modes.values()) == {0o600}
    assert world.home.stat().st_mode & 0o077 == 0


async def test_without_a_hub_the_ledger_is_out_of_reach(tmp_path: Path) -> None:
    async with offline(tmp_path) as payer:
        with pytest.raises(LedgerError) as failed:
            await payer.balance(timeout_s=0.01)
        assert failed.value.code == "not_connected"


async def test_a_lost_connection_is_made_again_and_nothing_is_missed(world: World) -> None:
    async with world.payer() as payer:
        channel = await world.open_channel(payer)
        world.devnet.drop_connections()
        world.devnet.ledger.treasury.fund(payer.address, 777)
        world.devnet.ledger.settle()
        await eventually(lambda: payer._wallet._client is None or not payer._wallet._client.is_open)
        await payer.wait_connected(BOUND_S)
        await channel.deposit(20_000)
        await eventually(lambda: channel.state.deposited_by_me == 520_000)
        assert any(coin.amount == 777 for coin in payer._wallet.coins.coins())
