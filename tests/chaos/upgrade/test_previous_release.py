"""Version N and version N+1 work on one schema: the previous release's tests on the schema that this release's
expanding steps make, and this release's tests on it as long as its contracting steps have not run.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import psycopg
import pytest

from shared.store.migrations import REQUIRED_REVISION, current
from tests.chaos.upgrade import releases
from tests.chaos.upgrade.releases import ROOT, run_tests, unpack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1_800)]

LONG_S = 1_500.0
QUICK_S = 300.0
MONEY = [
    "tests/integration/store/test_store_payments.py",
    "tests/integration/front/test_peer_door.py",
]
"""What takes payments and gives receipts."""
ROOMS = [
    "tests/integration/store",
    "tests/integration/front",
    "tests/integration/worker/test_commands.py",
    "tests/integration/worker/test_lease.py",
    "tests/integration/worker/test_life_of_a_channel.py",
    "tests/integration/worker/test_peer_closes.py",
]
NOT_ABOUT_RELEASES = [
    # They migrate databases of their own, step by step, or ask how far one is.
    "--ignore=tests/integration/store/test_store_migrations.py",
    "--deselect=tests/integration/store/test_store_production_roles.py::test_three_logins_have_what_they_need_and_no_more",
    # They compare pages of the manual with the code, and need no database.
    "--ignore=tests/integration/front/test_docs_page.py",
    "--ignore=tests/integration/front/test_rest_description.py",
]
AFTER_THE_RELEASE = [
    # Payments move to the archive only when the contracting step has allowed it: the older release would not find them.
    "--ignore=tests/integration/store/test_store_archive.py",
    "--ignore=tests/integration/front/test_archived_payments.py",
]


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the previous release."""
    return unpack(tmp_path_factory.mktemp("older"))


@pytest.fixture
def empty_database_url(postgres_url: str) -> Iterator[str]:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE before_the_release")
        yield postgres_url.replace("/sluice?", "/before_the_release?")
        connection.execute("DROP DATABASE before_the_release WITH (FORCE)")


def count_of(summary: str) -> int:
    found = re.search(r"(\d+) passed", summary)
    assert found is not None, summary
    return int(found[1])


def test_the_previous_release_takes_payments_on_the_schema_of_this_one(
    older: Path, empty_database_url: str, tmp_path: Path
) -> None:
    releases.migrate(older, empty_database_url, "all")
    # Else nothing would be shown here.
    assert (current(empty_database_url).pre or "") < REQUIRED_REVISION
    assert count_of(run_tests(older, older, tmp_path / "plugins", MONEY, within_s=QUICK_S)) > 30


@pytest.mark.slow
@pytest.mark.parametrize("release", ["older", "newer"])
def test_tests_pass_in_the_middle_of_a_release(older: Path, tmp_path: Path, release: str) -> None:
    tree = older if release == "older" else ROOT
    left_out = NOT_ABOUT_RELEASES if release == "older" else [*NOT_ABOUT_RELEASES, *AFTER_THE_RELEASE]
    words = [*ROOMS, *left_out, "-m", "not slow", "-n", "2"]
    assert count_of(run_tests(tree, older, tmp_path / "plugins", words, within_s=LONG_S)) > 200
