"""Recorded traffic of a real hub and a real wallet: the local hub, told the same, answers the same."""

from __future__ import annotations

import re

import pytest

from tests.devnet_transcripts import FILES, Difference, Replay, frames

EXPECTED = {
    r"^version\.body\.program(_version)?$": "the hub is another program, and names its version",
    r"^known_witnesses\.body\.<address>\.": "whom a hub knows by name is its own business",
    r"\.tag$": "a tag is any text; the recorded hub makes them by hashing",
    r"definition_joints\[\]\.unit\.earned_headers_commission_recipients$": "the genesis unit there had three authors",
    r"\.skiplist_(units|balls)$": "where main chain indexes end in 0 depends on what else went on",
    r"unstable_mc_joints\[\]\.unit\.actual_tps_fee$": "known of stable units, which are more here",
    r"joints\[\]\.unit\.main_chain_index$": "a provider had posted in the meantime there",
    r"joints\[\]\.ball$": "a hub of several providers tells of what is provable later, when its answer is stable too",
}
"""Places in frames where the local hub differs, each with the reason."""


@pytest.fixture(scope="module")
def replay() -> Replay:
    replay = Replay()
    replay.run()
    return replay


@pytest.mark.parametrize("name", FILES)
def test_same_is_answered_to_the_same_wallet(replay: Replay, name: str) -> None:
    assert [difference for difference in replay.differences if difference.file == name and not reason(difference)] == []


def test_every_expected_difference_is_still_one(replay: Replay) -> None:
    assert {reason(difference) for difference in replay.differences} == set(EXPECTED.values())


def test_every_history_of_the_story_was_asked_for_and_proven(replay: Replay) -> None:
    told = [frame["message"] for name in FILES for frame in frames(name) if frame["direction"] == "hub->client"]
    recorded = [
        content for kind, content in told if (kind, content.get("command")) == ("response", "light/get_history")
    ]
    assert replay.histories == len(recorded) == 24


def reason(difference: Difference) -> str | None:
    return next((why for place, why in EXPECTED.items() if re.search(place, difference.place)), None)
