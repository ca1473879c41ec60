from __future__ import annotations

import json
from importlib.resources import files

import pytest

from shared.obyte.addresses import definition_address
from shared.obyte.agents import (
    AGENT_VERSIONS,
    CHANNELS_BASE_AA,
    PUBLISHABLE_VERSIONS,
    base,
    base_definition,
    channel_definition,
    publication_message,
)
from shared.obyte.errors import AddressError
from tests.unit.obyte.oscript_reader import read_oscript

FOLDER = files("shared.obyte.agents")


def test_the_address_of_version_1_2_is_pinned() -> None:
    assert CHANNELS_BASE_AA["1.2"] == "C24K6PTZXVJ2JBQ3MRR7E7AXHKKGIBDA"
    assert definition_address(base_definition("1.2")) == CHANNELS_BASE_AA["1.2"]


def test_the_readable_source_is_what_is_published() -> None:
    assert read_oscript((FOLDER / "channels_1_2.oscript").read_text("utf-8")) == base_definition("1.2")


def test_a_definition_changed_by_a_byte_is_not_published(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = json.dumps(base_definition("1.2")).replace("too early", "too  early")
    monkeypatch.setattr(base, "_definition_text", lambda _: changed)
    with pytest.raises(AddressError, match="not the one that is pinned"):
        publication_message("1.2")


def test_a_publication_tells_address_and_definition() -> None:
    assert publication_message("1.2") == {
        "app": "definition",
        "payload": {"address": CHANNELS_BASE_AA["1.2"], "definition": base_definition("1.2")},
    }


@pytest.mark.parametrize("version", ["1.1", "1.3", ""])
def test_only_our_own_agent_can_be_published(version: str) -> None:
    with pytest.raises(AddressError, match="to publish"):
        base_definition(version)


def test_the_repaired_version_is_preferred() -> None:
    assert AGENT_VERSIONS == ("1.2", "1.1")
    assert set(AGENT_VERSIONS) == set(CHANNELS_BASE_AA)
    assert set(CHANNELS_BASE_AA) >= PUBLISHABLE_VERSIONS


def test_a_channel_is_an_instance_of_its_version() -> None:
    for version, base_aa in CHANNELS_BASE_AA.items():
        definition = channel_definition("A" * 32, "B" * 32, "base", 1000, "s", version)
        assert isinstance(definition[1], dict)
        assert definition[1]["base_aa"] == base_aa
