"""The three numbers of `SLUICE_UNCONFIRMED_LIMITS`, each of which the reference has a function to set for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from shared.settings import Settings
from tests.integration.front.conftest import running_front
from tests.receiving_support import Payer, payer_key

if TYPE_CHECKING:
    from tests.receiving_support import Worker

ROOMY = {"max_by_asset": 10_000, "max_by_channel": 10_000, "min_age_s": 0}


async def taken(worker: Worker, database_url: str, limits: dict[str, Any] | None) -> list[int]:
    """What two payers, who have deposited 500 each a moment ago, can pay by a front with these limits."""
    settings = Settings(
        database_url=database_url,
        funding_wait_s=0.01,
        unconfirmed_limits={} if limits is None else {"base": ROOMY | limits},
    )
    found = []
    async with running_front(settings) as front:
        for number in (1, 2):
            payer = Payer(payer_key(number))
            await worker.insert(payer)
            await worker.see_unit(payer, f"u{number}", amount=500)
            sums = [300, 400, 500, 600]
            found.append(max([0, *[spent for spent in sums if "receipt" in await front.pay(payer.package(spent, 1))]]))
    return found


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, [500, 500]),  # no more than the deposits themselves
        ({"max_by_channel": 400}, [400, 400]),  # setMaxUnconfirmedByAssetAndChannel
        ({"max_by_asset": 800}, [500, 300]),  # setMaxUnconfirmedByAsset
        ({"min_age_s": 3_600}, [0, 0]),  # setMinimumTimeToWaitForUnconfirmedPaymentByAsset
        (None, [0, 0]),
    ],
)
async def test_each_number_limits_what_is_taken_on_deposits_that_are_not_stable(
    worker: Worker, database_url: str, limits: dict[str, Any] | None, expected: list[int]
) -> None:
    assert await taken(worker, database_url, limits) == expected


async def test_fronts_that_are_restarted_one_by_one_change_the_limits_without_a_pause(
    worker: Worker, database_url: str
) -> None:
    payer = Payer()
    await worker.insert(payer)
    await worker.see_unit(payer, amount=500)
    before = Settings(database_url=database_url, funding_wait_s=0.01, unconfirmed_limits={})
    after = Settings(database_url=database_url, funding_wait_s=0.01, unconfirmed_limits={"base": ROOMY})
    async with running_front(before) as old, running_front(after) as new:
        assert "error" in await old.pay(payer.package(100, 100))
        assert (await new.pay(payer.package(100, 100)))["receipt"]["amount"] == 100
