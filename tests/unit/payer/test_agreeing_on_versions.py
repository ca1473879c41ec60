from __future__ import annotations

import pytest

from shared.peers.answers import read_answer
from shared.peers.errors import PeerRefusedError, refusal
from shared.peers.versions import versions_left, versions_to_offer


@pytest.mark.parametrize(
    ("wanted", "published", "offered"),
    [
        (None, ("1.1", "1.2"), ("1.2", "1.1")),
        (None, ("1.1",), ("1.1",)),
        (None, (), ()),
        ("1.1", ("1.1", "1.2"), ("1.1",)),
        ("1.2", ("1.1",), ()),
    ],
)
def test_published_versions_are_offered_best_first(
    wanted: str | None, published: tuple[str, ...], offered: tuple[str, ...]
) -> None:
    assert versions_to_offer(wanted, ("1.2", "1.1"), published) == offered


@pytest.mark.parametrize(
    "text", ["Unknown AA version", "Unsupported AA version", "Unsupported AA version; supported: 1.1"]
)
def test_a_refusal_in_words_leaves_all_that_was_not_offered(text: str) -> None:
    assert versions_left(PeerRefusedError("refused", text), ("1.1", "1.0")) == ("1.1", "1.0")


def test_a_refusal_that_names_versions_leaves_those() -> None:
    refused = PeerRefusedError("unsupported_agent_version", "no", agent_versions=("1.0", "2.0"))
    assert versions_left(refused, ("1.1", "1.0")) == ("1.0",)


def test_any_other_refusal_leaves_nothing() -> None:
    assert versions_left(PeerRefusedError("timeout_too_low", "Channel timeout is too low"), ("1.1",)) == ()


@pytest.mark.parametrize(
    ("told", "read"), [(["1.2", 3, "1.1"], ("1.2", "1.1")), ([], ()), ("1.2", None), (None, None), ({}, None)]
)
def test_what_a_peer_tells_is_read_with_care(told: object, read: tuple[str, ...] | None) -> None:
    answer = read_answer({"error": "no", "agent_versions": told})  # type: ignore[dict-item]
    assert answer is not None
    refused = refusal(answer)
    assert refused is not None
    assert refused.agent_versions == read
