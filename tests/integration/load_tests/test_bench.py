"""The benchmark as a whole, on a few hundred payments: that it works, not what it measures."""

from __future__ import annotations

import pytest
from rich.console import Console

from load_tests.bench.fairness import COPIES, FORGED, HOT, QUIET, measure_fairness
from load_tests.bench.growth import Growth, measure_growth
from load_tests.bench.plans import BAD_SIGNATURES, DUPLICATES, OVER_CREDIT
from load_tests.bench.running import measure
from load_tests.bench.sizes import SMOKE

pytestmark = pytest.mark.slow


def test_a_short_run_measures_every_kind_of_load_beside_its_floors() -> None:
    report = measure(SMOKE, Console(quiet=True))

    measured = {(row.what, row.connections): row for row in report.rows}
    assert {("20 channels", 2), ("20 channels", 32), ("one hot channel", 32)} <= measured.keys()
    assert {(DUPLICATES, 32), (BAD_SIGNATURES, 32), (OVER_CREDIT, 32)} <= measured.keys()
    paid = measured["20 channels", 32]
    assert min(paid.per_second, paid.p99_ms, paid.front_us, paid.postgres_us, paid.client_us, paid.wal_bytes) > 0
    assert paid.front_ratio is not None
    assert report.floors.keys() >= {"verify_us", "hash_us", "asgi_us_32", "fastapi_us_32", "pgbench_one_us"}
    assert {"pgbench_plain_us", "pgbench_batch_us"} <= report.floors.keys()
    assert any("CPU of the front" in target.name for target in report.targets)


def test_growth_is_measured_with_payments_on_record_and_in_the_archive_and_a_front_is_weighed() -> None:
    size = Growth(rows=(40,), payments=40, rounds=1, connections=4, count=20, channels=10, weighed_payers=10, part=20)

    report = measure_growth(size, Console(quiet=True))

    assert [row["what"] for row in report.rows] == [
        "40 in payments", "40 in payments_archive",
        "a front after 20 payments", "a front after 40 payments",
    ]  # fmt: skip
    assert all(row["front_us"] > 0 for row in report.rows[:2])
    assert all(row["front_mb"] > 10 for row in report.rows[2:])
    assert len(report.targets) == 2


def test_floods_are_measured_by_what_others_feel() -> None:
    report = measure_fairness(0.3, 1, Console(quiet=True))

    felt = {row["flood"]: row for row in report.rows}
    assert felt[QUIET]["flood_per_s"] == 0
    assert all(felt[kind]["flood_per_s"] > 0 for kind in (HOT, FORGED, COPIES))
    assert all(felt[kind]["p99_ms"] > 0 for kind in (QUIET, HOT, FORGED, COPIES))
    assert any("503" in target.name for target in report.targets)
