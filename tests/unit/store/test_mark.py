"""The mark beside the wallet file: how far the database is known to have come."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from shared.store.errors import DatabaseRestoredError
from shared.store.mark import Mark, mark_file_of, read_mark

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return mark_file_of(tmp_path / "wallet.json", "devnet")


def mark(file: Path, own_address: str = "ME") -> Mark:
    made = Mark(file, own_address=own_address, network="devnet")
    made.read()
    return made


def modes_in(directory: Path) -> dict[str, int]:
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in directory.iterdir()}


def fill(file: Path, text: str) -> None:
    file.write_text(text)


async def test_what_is_kept_is_known_to_the_next_process(file: Path) -> None:
    await mark(file).keep(7)
    assert mark(file).pulse == 7
    assert modes_in(file.parent) == {"wallet.json.devnet.mark": 0o600}


async def test_a_mark_is_missing_where_there_should_be_a_file_and_nothing_is_known(file: Path) -> None:
    kept = mark(file)
    assert kept.is_missing
    await kept.keep(1)
    assert not kept.is_missing
    assert not mark(file).is_missing
    assert not Mark().is_missing, "the mark of a process without a file begins with the process"


async def test_a_mark_never_goes_back_whoever_writes_it(file: Path) -> None:
    behind = mark(file)
    await mark(file).keep(9)
    await behind.keep(8)
    assert mark(file).pulse == 9


async def test_a_database_that_has_not_come_further_was_restored(file: Path) -> None:
    kept = mark(file)
    kept.compare(1)
    await kept.keep(5)
    kept.compare(6)
    for pulse in (5, 4):
        with pytest.raises(DatabaseRestoredError):
            kept.compare(pulse)


async def test_the_mark_of_another_receiver_says_nothing_and_is_replaced(file: Path) -> None:
    await mark(file, "OTHER").keep(100)
    ours = mark(file)
    assert ours.pulse == 0
    await ours.keep(1)
    assert mark(file).pulse == 1


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pulse": "7"}', '{"pulse": true}'])
async def test_a_file_that_is_no_mark_is_replaced(file: Path, text: str) -> None:
    fill(file, text)
    with pytest.raises(ValueError, match=r"no mark|Expecting"):
        read_mark(file, "ME", "devnet")
    kept = mark(file)
    assert kept.pulse == 0
    await kept.keep(3)
    assert mark(file).pulse == 3


async def test_where_nothing_can_be_written_the_process_remembers(tmp_path: Path) -> None:
    kept = mark(tmp_path / "no such directory" / "wallet.json.mark")
    await kept.keep(3)
    with pytest.raises(DatabaseRestoredError):
        kept.compare(3)


async def test_what_a_crash_left_half_written_is_no_mark(file: Path) -> None:
    await mark(file).keep(4)
    fill(file.with_name(file.name + ".new"), '{"pul')
    assert mark(file).pulse == 4
    await mark(file).keep(5)
    assert mark(file).pulse == 5
