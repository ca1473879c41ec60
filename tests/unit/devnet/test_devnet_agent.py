"""What the recorded scenarios leave open about the channel agent."""

from __future__ import annotations

from typing import Any

import pytest

from devnet.agent import BASE, AgentState, ChannelParams, Data, Payment, Response, Trigger, trigger

A, B, OUTSIDER = "A" * 32, "B" * 32, "C" * 32
CHANNEL = ChannelParams("X" * 32, A, B, BASE, 1000)
ASSET_CHANNEL = ChannelParams("X" * 32, A, B, "asset", 1000)
OPEN = AgentState(period=1, event_id=2, balance_a=100_000)
CLOSING = AgentState("A", 1, 3, 100_000, 50_000, 10, 20, 1_000)


def send(
    state: AgentState,
    data: Any = None,
    *,
    sender: str = A,
    amount: int = 10_000,
    channel: ChannelParams = CHANNEL,
    valid: bool = True,
    timestamp_s: int = 5_000,
    **assets: int,
) -> Response:
    event = Trigger(sender, "unit", {BASE: amount, **assets}, data, timestamp_s)
    return trigger(state, channel, event, lambda _package, _signer: valid)


def text(response: Response) -> str | None:
    return response.error["message"] if isinstance(response.error, dict) else response.error  # type: ignore[return-value]


def package(**terms: Any) -> dict[str, Any]:
    return {"signed_message": {"aa_address": CHANNEL.address, "period": 1, "amount_spent": 5, **terms}}


def test_bounce_leaves_the_state_alone_and_keeps_the_fee() -> None:
    response = send(OPEN, sender=OUTSIDER, amount=25_000, asset=7)
    assert response.state is OPEN
    assert [(m.asset, m.outputs[0].amount) for m in response.messages if isinstance(m, Payment)] == [
        (BASE, 15_000),
        ("asset", 7),
    ]


def test_too_few_bytes_are_kept_with_everything_else() -> None:
    response = send(OPEN, amount=9_999, asset=7)
    assert response.bounced
    assert response.messages == ()


def test_foreign_asset_in_a_deposit_stays_with_the_agent() -> None:
    response = send(OPEN, amount=20_000, other=7)
    assert not response.bounced
    assert response.state.balance_a == 120_000
    assert all(isinstance(message, Data) for message in response.messages)


def test_bytes_are_no_deposit_in_an_asset_channel() -> None:
    assert text(send(OPEN, amount=50_000, channel=ASSET_CHANNEL)) == "neither case is true in messages"


def test_deposit_data_is_ignored() -> None:
    assert send(OPEN, {"close": 1, "period": 1}, amount=10_001).state.balance_a == 110_001


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ({"close": 1, "period": 1, "sentByPeer": "text"}, "booleans cannot be compared with other types"),
        ({"close": 1, "period": 1, "sentByPeer": 7}, "booleans cannot be compared with other types"),
        ({"close": 1, "period": 1, "sentByPeer": package(aa_address=5)}, "signed for another channel"),
        (
            {"close": 1, "period": 1, "sentByPeer": package(aa_address={"a": 1})},
            "objects cannot be compared with other types",
        ),
        (
            {"close": 1, "period": 1, "sentByPeer": package(period="one")},
            "signed for a different period of this channel",
        ),
        ({"close": 1, "period": 1, "sentByPeer": package(period=True)}, "booleans cannot be compared with other types"),
        ({"close": 1, "period": 1, "sentByPeer": package(amount_spent=-1)}, "bad amount spent by peer: -1"),
        ({"close": 1, "period": 1, "sentByPeer": package(amount_spent={"a": 1})}, "bad amount spent by peer: true"),
        ({"close": 1, "period": 1, "sentByPeer": package(amount_spent="")}, "bad amount spent by peer: "),
        ({"close": 1, "period": 1, "transferredFromMe": True}, "bad amount spent by me: true"),
        ({"close": 1, "period": [1]}, "wrong period"),
        ({"close": 1, "period": {"a": 1}}, "wrong period"),
        ({"close": 1, "period": False}, "wrong period"),
    ],
)
def test_malformed_closings(data: dict[str, Any], complaint: str) -> None:
    assert text(send(OPEN, data)) == complaint


def test_falsy_claims_count_as_nothing() -> None:
    for nothing in (0, "", False, "0", 0.0):
        assert send(OPEN, {"close": 1, "period": 1, "transferredFromMe": nothing}).state.spent_by_a == 0


def test_falsy_package_counts_as_none() -> None:
    assert send(OPEN, {"close": 1, "period": 1, "sentByPeer": ""}, valid=False).state.spent_by_b == 0


def test_package_in_an_array_is_read_but_not_valid() -> None:
    assert text(send(OPEN, {"close": 1, "period": 1, "sentByPeer": [package()]})) == "invalid signature by peer"


def test_close_of_an_unopened_channel_without_period_is_a_wrong_period() -> None:
    assert text(send(AgentState(), {"close": 1})) == "wrong period"


def test_initiator_waits_to_the_second() -> None:
    confirm = {"confirm": 1, "period": 1}
    assert text(send(CLOSING, confirm, timestamp_s=1_999)) == "too early"
    assert not send(CLOSING, confirm, timestamp_s=2_000).bounced
    assert not send(CLOSING, confirm, sender=B, timestamp_s=1_001).bounced


@pytest.mark.parametrize(("of_a", "of_b", "fixed"), [(5_000, 5_000, B), (4_999, 5_000, A), (5_001, 5_000, B)])
def test_poorer_party_gets_the_fixed_output_and_b_when_equal(of_a: int, of_b: int, fixed: str) -> None:
    state = AgentState("A", 1, 3, of_a, of_b, 0, 0, 1_000)
    payment = send(state, {"confirm": 1, "period": 1}, sender=B).messages[0]
    assert isinstance(payment, Payment)
    amounts = {output.address: output.amount for output in payment.outputs}
    assert amounts == {A: None, B: None} | {fixed: min(of_a, of_b) + 10_000}


def test_fraud_proof_goes_to_whoever_brings_it() -> None:
    for sender in (A, B, OUTSIDER):
        response = send(CLOSING, {"fraud_proof": 1, "sentByPeer": package(amount_spent=11)}, sender=sender)
        assert [m.outputs[0].address for m in response.messages if isinstance(m, Payment)] == [sender]


def test_period_of_a_fraud_proof_is_not_looked_at() -> None:
    proof = {"fraud_proof": 1, "period": 99, "sentByPeer": package(amount_spent=11)}
    assert not send(CLOSING, proof, sender=B).bounced


def test_rounding_to_fifteen_digits_reaches_the_balance() -> None:
    assert send(OPEN, amount=1_234_567_890_123_456).state.balance_a == 1_234_567_890_223_460


def test_channel_with_oneself_cannot_open() -> None:
    alone = ChannelParams("X" * 32, A, A, BASE, 1000)
    assert text(send(AgentState(), amount=20_000, channel=alone)) == f"duplicate key {A} calculated from {{$addressB}}"


def test_storage_size_counts_names_and_digits() -> None:
    assert AgentState().storage_size() == 0
    assert AgentState(period=1, event_id=12).storage_size() == len("period1event_id12")
