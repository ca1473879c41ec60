"""Which versions of the channels agent a front takes: those that are allowed here and published on the network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shared.settings import Settings
from shared.store import instance
from tests.integration.front.conftest import running_front
from tests.receiving_support import Payer

if TYPE_CHECKING:
    from tests.integration.front.conftest import Front
    from tests.receiving_support import Worker

REPAIRED = Payer(version="1.2")


async def publish(worker: Worker, *versions: str) -> None:
    async with worker.database.transaction() as conn:
        await instance.note_published(conn, versions)


async def test_a_version_that_is_not_published_is_refused_with_those_that_are(front: Front) -> None:
    assert await front.command("create_channel", REPAIRED.parameters) == {
        "error": "Unsupported AA version; supported: 1.1",
        "code": "unsupported_agent_version",
        "agent_versions": ["1.1"],
    }
    assert "response" in await front.command("create_channel", Payer().parameters)


async def test_a_version_is_taken_as_soon_as_it_is_published(front: Front, worker: Worker) -> None:
    await publish(worker, "1.2")
    answer = await front.command("create_channel", REPAIRED.parameters)
    assert answer["response"]["aa_address"] == REPAIRED.channel
    assert (await worker.read(REPAIRED)).version == "1.2"


async def test_what_was_published_stays_published(front: Front, worker: Worker) -> None:
    await publish(worker, "1.2")
    await publish(worker)
    await publish(worker, "1.1")
    async with worker.database.transaction() as conn:
        here = await instance.read(conn)
    assert here is not None
    assert here.agent_versions == ("1.1", "1.2")


async def test_an_unknown_version_is_refused_with_the_known_ones(front: Front) -> None:
    answer = await front.command("create_channel", {**Payer().parameters, "version": "1.3"})
    assert answer == {"error": "Unknown AA version", "code": "unknown_agent_version", "agent_versions": ["1.2", "1.1"]}


async def test_a_first_package_is_held_to_the_same_rule(front: Front) -> None:
    answer = await front.pay(REPAIRED.first_package(1_000, 1_000))
    assert answer["code"] == "unsupported_agent_version"
    assert answer["agent_versions"] == ["1.1"]


async def test_a_version_that_is_not_allowed_any_more_is_for_old_channels_only(
    database_url: str, front: Front, worker: Worker
) -> None:
    await publish(worker, "1.2")
    old = Payer()
    await front.command("create_channel", old.parameters)
    settings = Settings(database_url=database_url, funding_wait_s=0.1, agent_versions=("1.2",))
    async with running_front(settings) as strict:
        assert "response" in await strict.command("create_channel", old.parameters)
        refused = await strict.command("create_channel", Payer(salt="another").parameters)
        assert refused["error"] == "Unsupported AA version; supported: 1.2"
        assert "response" in await strict.command("create_channel", Payer(salt="new", version="1.2").parameters)


@pytest.mark.parametrize("versions", ["", "1.2,1.2", "1.0", "1.2;1.1"])
def test_the_setting_takes_known_versions_once(versions: str) -> None:
    with pytest.raises(ValueError, match=r"must list one or more of 1\.1, 1\.2"):
        Settings(agent_versions=versions)  # type: ignore[arg-type]


def test_the_setting_is_an_order_of_preference() -> None:
    assert Settings().agent_versions == ("1.2", "1.1")
    assert Settings(agent_versions="1.1, 1.2").agent_versions == ("1.1", "1.2")  # type: ignore[arg-type]
