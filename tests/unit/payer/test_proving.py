from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from shared.obyte.hub_errors import HubAnswerError, HubRequestError
from shared.obyte.keys import KeyPair
from shared.obyte.ledger_clock import LedgerClock
from shared.obyte.networks import TESTNET
from sluice.payer.proving import Prover
from sluice.payer.store import PayerStore

if TYPE_CHECKING:
    from pathlib import Path

OWN = KeyPair(bytes([1]) * 32).address
OTHERS = tuple(sorted(KeyPair(bytes([100 + number]) * 32).address for number in range(12)))


class Hub:
    """Names order providers, and knows no time."""

    url = "wss://hub.example"

    def __init__(self, named: tuple[str, ...]) -> None:
        self.named = named

    async def get_witnesses(self) -> tuple[str, ...]:
        return self.named

    async def get_time(self, **_: Any) -> Any:
        raise HubRequestError("light/get_parents", "not now")


async def greeted(path: Path, named: tuple[str, ...], **given: Any) -> tuple[Prover, list[str]]:
    """A payer that meets this hub again and again, and the sources whose lists it finds different."""
    with closing(PayerStore(path / "payer.sqlite3")) as store, capture_logs() as logs:
        clock = LedgerClock(lambda: 0.0, lambda: 0.0)
        prover = Prover(address=OWN, network=TESTNET, store=store, clock=clock, monotonic=lambda: 0.0, **given)
        await prover.load()
        hub: Any = Hub(named)
        for _ in range(3):
            await prover.greet(hub)
    return prover, [str(told["source"]) for told in logs if told["event"] == "payer_order_providers_differ"]


async def test_a_first_list_unlike_the_one_the_network_began_with_is_told_of(tmp_path: Path) -> None:
    prover, differing = await greeted(tmp_path, OTHERS)
    assert (prover.witnesses, differing) == (OTHERS, ["the network's first list"])


async def test_what_was_pinned_once_stays_pinned(tmp_path: Path) -> None:
    first = tuple(sorted(TESTNET.initial_order_providers))
    assert (await greeted(tmp_path, first))[1] == []
    prover, differing = await greeted(tmp_path, OTHERS)
    assert (prover.witnesses, differing) == (first, [Hub.url])


async def test_one_vote_more_or_less_is_nothing_to_tell(tmp_path: Path) -> None:
    first = tuple(sorted(TESTNET.initial_order_providers))
    await greeted(tmp_path, first)
    assert (await greeted(tmp_path, (*first[1:], OTHERS[0])))[1] == []


async def test_a_list_that_is_too_short_is_none(tmp_path: Path) -> None:
    with pytest.raises(HubAnswerError):
        await greeted(tmp_path, OTHERS[:11])
