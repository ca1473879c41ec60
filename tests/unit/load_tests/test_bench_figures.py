"""What the benchmark makes of what it has measured: medians, ratios, targets, the report."""

from __future__ import annotations

import json
from array import array
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from load_tests.bench.client import Answers
from load_tests.bench.fairness import COPIES, CROWD, FORGED, HOT, QUIET, Felt, fairness_targets, shed_targets
from load_tests.bench.plans import DUPLICATES, ONE_COMMIT, THREE_FRONTS
from load_tests.bench.plot import draw
from load_tests.bench.report import Report
from load_tests.bench.rounds import Measured
from load_tests.bench.rows import Row, median_row, percentile_ms
from load_tests.bench.sizes import FULL, QUICK, Size, table_name
from load_tests.bench.tables import MARKS, SideReport, put_between_marks
from load_tests.bench.targets import Target, front_floor_us, targets, with_ratios

if TYPE_CHECKING:
    from pathlib import Path

SIZE = replace(QUICK, tables=(100, 1_000), main=100)
FLOORS = {
    "verify_us": 40.0, "hash_us": 5.0, "asgi_us_32": 55.0, "asgi_us_128": 55.0, "pgbench_one_us": 200.0,
    "pgbench_batch_us": 20.0,
}  # fmt: skip


def row(what: str = "100 channels", connections: int = 32, **figures: float) -> Row:
    given = {"per_second": 1_000.0, "front_us": 120.0, "postgres_us": 20.0, **figures}
    return Row(what, connections, p50_ms=1.0, p99_ms=2.0, client_us=9.0, wal_bytes=1_000.0, **given)


def held(*rows: Row) -> dict[str, Target]:
    return {one.name: one for one in targets(with_ratios(rows, FLOORS), FLOORS, SIZE.tables, SIZE.main)}


def the(found: dict[str, Target], word: str) -> Target:
    [one] = [target for name, target in found.items() if word in name]
    return one


def test_each_figure_of_a_row_is_the_median_of_its_own_rounds() -> None:
    rounds = [row(per_second=10, front_us=300), row(per_second=90, front_us=100), row(per_second=20, front_us=200)]

    found = median_row(rounds)

    assert (found.per_second, found.front_us, found.postgres_us) == (20, 200, 20)
    assert found.spread == pytest.approx(200 / 220)


def test_no_round_makes_no_row() -> None:
    with pytest.raises(ValueError, match="no round"):
        median_row([])


def test_a_percentile_is_one_of_the_latencies() -> None:
    latencies = [number / 1_000 for number in range(100, 0, -1)]

    assert percentile_ms(latencies, 0.5) == pytest.approx(51)
    assert percentile_ms(latencies, 0.99) == pytest.approx(100)
    assert percentile_ms([0.007], 0.99) == pytest.approx(7)
    assert percentile_ms([], 0.5) == 0.0


def test_the_floor_of_a_front_is_that_of_as_many_connections() -> None:
    assert front_floor_us(FLOORS, 32) == 100
    assert front_floor_us(FLOORS, 512) is None
    [known, unknown] = with_ratios([row(), row(connections=512)], FLOORS)
    assert known.front_ratio == pytest.approx(1.2)
    assert unknown.front_ratio is None
    assert known.postgres_ratio == pytest.approx(1.0)


def test_the_worst_number_of_connections_decides() -> None:
    found = held(row(connections=8, front_us=900), row(connections=32, front_us=130), row(connections=128))

    assert the(found, "CPU of the front").value == pytest.approx(1.3)
    assert the(found, "CPU of the front").ok
    assert not the(held(row(front_us=131)), "CPU of the front").ok


def test_postgres_is_held_to_one_commit_each() -> None:
    assert the(held(row(postgres_us=30)), "CPU of Postgres").ok
    assert not the(held(row(postgres_us=31)), "CPU of Postgres").ok


def test_rates_are_held_to_at_least_their_limit() -> None:
    mine = [row(per_second=4_000), row(connections=128, per_second=3_000)]
    design = [row(ONE_COMMIT, per_second=1_000), row(ONE_COMMIT, connections=128, per_second=900)]
    three = [row(THREE_FRONTS, per_second=4_400), row(THREE_FRONTS, connections=128, per_second=2_900)]

    found = held(*mine, *design, *three)

    assert the(found, "one-commit-each design").value == 4
    assert the(found, "one-commit-each design").ok
    assert the(found, "3 fronts").value == pytest.approx(2_900 / 3_000)
    assert not the(found, "3 fronts").ok


def test_a_large_table_is_held_to_the_small_one_and_a_duplicate_to_what_is_accepted() -> None:
    found = held(row(), row(table_name(1_000), postgres_us=41), row(DUPLICATES, front_us=119))

    assert the(found, "1,000 channels").value == pytest.approx(161 / 140)
    assert the(found, "1,000 channels").ok
    assert the(found, "duplicate").ok
    assert not the(held(row(), row(DUPLICATES, front_us=121)), "duplicate").ok


def test_what_was_not_measured_is_no_target() -> None:
    assert held() == {}


def test_a_report_is_machine_floors_rows_and_targets_and_comes_back_as_it_was(tmp_path: Path) -> None:
    report = Report.of(Measured([row(), row(connections=128)], FLOORS), SIZE, {"cores": 2})
    file = tmp_path / "results" / "latest.json"

    report.write(file)

    found = json.loads(file.read_text())
    assert list(found) == ["machine", "floors", "rows", "targets"]
    assert set(found["targets"][0]) == {"name", "value", "limit", "ok"}
    assert found["rows"][0]["what"] == "100 channels"
    assert Report.read(file) == report


def test_a_report_as_markdown_has_a_line_for_each_row_and_target() -> None:
    report = Report.of(Measured([row(), row(connections=128)], FLOORS), SIZE, {"cores": 2})
    [rows, floors, held_to] = [table.markdown().splitlines() for table in report.tables()]

    assert "| 100 channels | 128 | 1,000 | 1.0 | 2.0 | 120 | 20 | 9 | 1,000 | 0% | 1.20 | 1.00 |" in rows
    assert "| verify_us | 40.0 |" in floors
    assert any(line.endswith("| 1.20 | 1.3 | met |") for line in held_to)
    assert len({line.count("|") for line in rows[3:]}) == 1


def test_a_side_report_comes_back_as_it_was(tmp_path: Path) -> None:
    report = SideReport(
        "Growth", {"cores": 2}, [{"what": "none", "us": 1.5, "mb": None}], [Target("a", 1.0, 2.0, ok=True)]
    )

    report.write(tmp_path / "growth.json")

    assert SideReport.read(tmp_path / "growth.json") == report
    assert "| none | 1.50 |  |" in report.tables()[0].markdown()


def test_little_is_not_shown_as_nothing() -> None:
    report = SideReport("Others", {}, [{"what": "failed", "share": 0.0004}], [Target("share", 0.0004, 0.0, ok=False)])

    rows, held_to = (table.markdown() for table in report.tables())

    assert "| failed | 0.0004 |" in rows
    assert "| share | 0.0004 | 0 | missed |" in held_to


def test_tables_take_the_place_of_those_before_and_nothing_else() -> None:
    page = f"before\n{MARKS[0]}\nold\n{MARKS[1]}\nafter\n"

    found = put_between_marks(page, "new")

    assert found == f"before\n{MARKS[0]}\nnew\n{MARKS[1]}\nafter\n"
    assert put_between_marks(found, "new") == found
    with pytest.raises(ValueError, match="figures"):
        put_between_marks("nothing", "new")


def test_the_picture_names_each_kind_of_load(tmp_path: Path) -> None:
    report = Report.of(Measured([row(), row(connections=128), row("lonely")], FLOORS), SIZE, {"cores": 2})

    draw(report, tmp_path / "latest.svg")

    picture = (tmp_path / "latest.svg").read_text()
    assert "<svg" in picture
    assert "100 channels" in picture
    assert "lonely" not in picture


@pytest.mark.parametrize("size", [FULL, QUICK])
def test_every_number_of_connections_has_its_payments(size: Size) -> None:
    assert {*size.side, *size.few} <= {*size.connections}
    assert size.main in size.tables
    assert all(count > connections for connections, count in size.payments.items())


def test_only_the_tables_of_what_is_wanted_are_made() -> None:
    assert FULL.wanted_tables == FULL.tables
    assert replace(FULL, only=("one hot channel",)).wanted_tables == (FULL.main,)


def felt(p99_ms: float, failed: float = 0.0) -> Felt:
    return Felt(p50_ms=1.0, p99_ms=p99_ms, flood_per_s=100.0, flood_refused=0.0, failed=failed)


def test_others_may_feel_a_flood_twice_as_much_as_nothing() -> None:
    quiet = {QUIET: felt(5), CROWD: felt(99), HOT: felt(10), FORGED: felt(10.1), COPIES: felt(1)}

    found = {one.name: one.ok for one in fairness_targets(quiet)}

    assert found == {
        "p99 of others, one channel pays ÷ nobody floods, at most": True,
        "p99 of others, bad signatures ÷ nobody floods, at most": False,
        "p99 of others, copies of one package ÷ nobody floods, at most": True,
        "share of the others' payments that were not credited, at most": True,
    }
    failing = fairness_targets(quiet | {COPIES: felt(1, failed=0.01)})
    assert not failing[-1].ok


def test_shedding_is_early_and_seen() -> None:
    early = Answers(good=array("d", [0.05] * 90), other={503: array("d", [0.01] * 10)})
    late = Answers(good=array("d", [0.05] * 90), other={503: array("d", [0.06] * 10)})

    assert [one.ok for one in shed_targets(early)] == [True, True]
    assert [one.ok for one in shed_targets(late)] == [True, False]
    assert [one.ok for one in shed_targets(Answers(good=array("d", [0.05])))] == [False, True]
