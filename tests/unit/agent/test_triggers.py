from __future__ import annotations

from typing import Any

import pytest

from shared.agent.triggers import bytes_to_send, read_peer_trigger, touched_addresses, trigger_data
from shared.channels.closing import Close, Confirm, FraudProof
from shared.channels.ledger import SeenTrigger
from tests.unit.agent.builders import (
    AGENT,
    ASSET,
    DEFINITION,
    ME,
    PEER,
    STRANGER,
    data,
    new_channel,
    payment,
    unit_of,
)

CHANNEL = new_channel()
CLAIM = '{"signed_message":{"amount_spent":5},"authors":[],"version":"4.0dev"}'


def seen(*messages: dict[str, Any], author: str = PEER, asset: str = "base") -> SeenTrigger | None:
    return read_peer_trigger(unit_of(author, *messages), new_channel(asset=asset))


def test_a_close_without_a_claim_says_only_what_is_not_zero() -> None:
    assert trigger_data(Close(3, 0, None)) == {"close": 1, "period": 3}


def test_a_close_carries_the_claim_as_it_was_signed() -> None:
    assert trigger_data(Close(3, 6_000, CLAIM)) == {
        "close": 1,
        "period": 3,
        "transferredFromMe": 6_000,
        "sentByPeer": {"signed_message": {"amount_spent": 5}, "authors": [], "version": "4.0dev"},
    }


def test_a_confirmation_gives_back_what_was_never_credited() -> None:
    assert trigger_data(Confirm(2, 0)) == {"confirm": 1, "period": 2}
    assert trigger_data(Confirm(2, 7)) == {"confirm": 1, "period": 2, "additionalTransferredFromMe": 7}


def test_a_fraud_proof_carries_the_claim() -> None:
    data = trigger_data(FraudProof(2, CLAIM))
    assert (data["fraud_proof"], data["period"]) == (1, 2)
    assert data["sentByPeer"] == trigger_data(Close(2, 0, CLAIM))["sentByPeer"]


STARVED = "not enough funds for 43992 bytes"


@pytest.mark.parametrize(
    ("asset", "trigger", "bounces", "amount"),
    [
        (ASSET, FraudProof(1, CLAIM), [], 10_000),
        (ASSET, FraudProof(1, CLAIM), [None, "too early"], 10_000),
        (ASSET, FraudProof(1, CLAIM), ["too early", STARVED, "not enough funds for 5 bytes"], 43_992),
        (ASSET, Confirm(1, 0), [STARVED], 43_992),
        (ASSET, Confirm(1, 0), ["not enough funds for 999999999999 bytes"], 10_000_000),
        (ASSET, Confirm(1, 0), ["not enough funds for 43992 of asset x"], 10_000),
        (ASSET, Close(1, 0, None), [STARVED], 10_000),
        ("base", FraudProof(1, CLAIM), [STARVED], 10_000),
    ],
)
def test_an_agent_that_has_too_few_bytes_to_answer_is_brought_more(
    asset: str, trigger: Any, bounces: list[str | None], amount: int
) -> None:
    """Never in a channel of bytes: there more than 10 000 are a deposit, and the trigger is not executed."""
    assert bytes_to_send(new_channel(asset=asset), trigger, bounces) == amount


def test_a_deposit_is_summed_up_by_asset() -> None:
    trigger = seen(payment((AGENT, 50_000), (PEER, 9)), payment((AGENT, 40), asset=ASSET), asset=ASSET)
    assert trigger == SeenTrigger(50_000, 40, has_data=False, closes=False, publishes_definition=False)


def test_b09_a_worthless_asset_is_no_money_of_a_base_channel() -> None:
    trigger = seen(payment((AGENT, 10_000)), payment((AGENT, 10**9), asset=ASSET))
    assert trigger is not None
    assert (trigger.bytes_to_agent, trigger.asset_to_agent) == (10_000, 10_000)


@pytest.mark.parametrize("value", [1, 0, False, "no", None])
def test_any_word_of_closing_counts_as_closing(value: Any) -> None:
    trigger = seen(data({"close": value}), payment((AGENT, 10_000)))
    assert trigger is not None
    assert trigger.closes
    assert trigger.has_data


def test_only_the_first_data_message_closes_but_any_makes_it_no_deposit() -> None:
    trigger = seen(data({"note": 1}), data({"close": 1}), payment((AGENT, 50_000)))
    assert trigger is not None
    assert not trigger.closes
    assert trigger.has_data


def test_what_pays_the_agent_too_little_means_nothing() -> None:
    assert seen(data({"close": 1}), payment((AGENT, 9_999))) is None


def test_units_of_others_mean_nothing() -> None:
    assert seen(payment((AGENT, 50_000)), author=STRANGER) is None


def test_the_first_author_is_the_sender() -> None:
    unit = unit_of(STRANGER, payment((AGENT, 50_000)))
    unit["authors"].append({"address": PEER})
    assert read_peer_trigger(unit, CHANNEL) is None


@pytest.mark.parametrize("asset", [None, ASSET])
def test_a_unit_that_pays_others_too_is_no_deposit(asset: str | None) -> None:
    """One of them may be an agent, and of two agents in one unit only the first one answers: ours returns the money."""
    apart = seen(payment((AGENT, 50_000), (PEER, 7)))
    mixed = seen(payment((AGENT, 50_000), (PEER, 7)), payment((STRANGER, 1), asset=asset))
    assert apart is not None
    assert mixed is not None
    assert not apart.pays_others
    assert mixed.pays_others


def test_publishing_the_definition_is_seen_with_and_without_a_deposit() -> None:
    publication = {"app": "definition", "payload": {"address": AGENT, "definition": DEFINITION}}
    alone, funded = seen(publication), seen(publication, payment((AGENT, 50_000)))
    assert alone is not None
    assert funded is not None
    assert alone.publishes_definition
    assert funded.publishes_definition


def test_another_definition_under_the_agents_address_publishes_nothing() -> None:
    wrong = {"app": "definition", "payload": {"address": AGENT, "definition": ["sig", {"pubkey": "x"}]}}
    assert seen(wrong) is None


def test_a_unit_touches_its_authors_its_payees_and_what_it_defines() -> None:
    publication = {"app": "definition", "payload": {"address": AGENT, "definition": DEFINITION}}
    assert touched_addresses(unit_of(PEER, publication, payment((ME, 1)))) == {PEER, AGENT, ME}


@pytest.mark.parametrize(
    "nonsense",
    [
        {},
        {"authors": None, "messages": 5},
        {"authors": [{"address": ["x"]}, 7], "messages": [None, {"payload": {"outputs": [{"address": {}}]}}]},
        {"messages": [{"app": "definition", "payload": {"address": []}}]},
    ],
)
def test_nonsense_touches_nobody(nonsense: Any) -> None:
    assert touched_addresses(nonsense) == set()
