"""The benchmark as a whole, on a few hundred payments: that it works, not what it measures."""

from __future__ import annotations

from rich.console import Console

from load_tests.bench.plans import BAD_SIGNATURES, DUPLICATES, OVER_CREDIT
from load_tests.bench.running import measure
from load_tests.bench.sizes import SMOKE


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
