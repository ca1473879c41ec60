from __future__ import annotations

import pytest

from devnet.ledger import Ledger
from tests.devnet_support import Actor, TestChannel


class Clock:
    """Time that passes only when told to."""

    def __init__(self) -> None:
        self.now_s = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(clock: Clock) -> Ledger:
    return Ledger(seed=b"test", clock=clock)


@pytest.fixture
def alice(ledger: Ledger) -> Actor:
    actor = Actor(ledger, 1)
    actor.fund()
    return actor


@pytest.fixture
def bob(ledger: Ledger) -> Actor:
    actor = Actor(ledger, 2)
    actor.fund()
    return actor


@pytest.fixture
def carol(ledger: Ledger) -> Actor:
    actor = Actor(ledger, 3)
    actor.fund()
    return actor


@pytest.fixture
def channel(ledger: Ledger, alice: Actor, bob: Actor) -> TestChannel:
    return TestChannel(ledger, alice, bob)
