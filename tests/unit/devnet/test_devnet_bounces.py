"""Every way in which the agent turns a trigger down, as a light client and a watcher of the agent are told of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from shared.obyte.composing import Output, data_message
from tests.devnet_support import Actor, Client, Hub, TestChannel, history

if TYPE_CHECKING:
    from devnet.dag import UnitRecord
    from devnet.ledger import Ledger

FEE = 10_000
SENT = 35_000
CLOSE, CONFIRM, FRAUD_PROOF = ({"close": 1, "period": 1}, {"confirm": 1, "period": 1}, {"fraud_proof": 1})


@pytest.fixture
def hub(ledger: Ledger) -> Hub:
    return Hub(ledger)


@pytest.fixture
def watcher(hub: Hub, channel: TestChannel) -> Client:
    channel.open()
    client = hub.connect()
    client.say("light/new_aa_to_watch", {"aa": channel.address})
    return client


def turned_down(client: Client, channel: TestChannel) -> dict[str, Any]:
    """The newest response, as pushed; checks that histories and look-ups tell the same, and that proofs hold."""
    pushed: dict[str, Any] = client.told("light/aa_response")[-1]
    assert pushed["bounced"] is True
    assert "updatedStateVars" not in pushed
    asked = {"witnesses": [channel.ledger.provider_address], "addresses": [channel.address]}
    row = client.ask("light/get_history", asked)["aa_responses"][-1]
    assert row["bounced"] == 1
    assert json.loads(row["response"]) == pushed["response"] == {"error": pushed["response"]["error"]}
    assert row.get("response_unit") == pushed["response_unit"]
    listed = client.ask("light/get_aa_responses", {"aa": channel.address})[0]
    assert (listed["bounced"], listed["response"]) == (1, pushed["response"])
    assert history(channel.ledger, channel.address).aa_responses[-1].bounced
    return pushed


def text(pushed: dict[str, Any]) -> str:
    error = pushed["response"]["error"]
    return str(error["message"] if isinstance(error, dict) else error)


def say(channel: TestChannel, sender: Actor, data: Any, amount: int = FEE + 1) -> UnitRecord:
    sent = sender.trigger(channel.address, data, amount)
    channel.ledger.settle()
    return sent


def close(channel: TestChannel, claimed: int = 0) -> None:
    """Let B close; A's deposit would be refused from then on, so what A sends may be more than the fee."""
    say(channel, channel.b, {**CLOSE, "transferredFromMe": claimed}, FEE)


def claim(channel: TestChannel, payer: Actor, change: dict[str, Any] | None = None, **terms: Any) -> dict[str, Any]:
    package = channel.signed(payer, terms.get("amount_spent", 500), terms.get("period", 1))
    package["signed_message"] |= change or {}
    return package


OPEN_CASES: list[tuple[Any, str]] = [
    (None, "neither case is true in messages"),
    ({"nonsense": 1}, "neither case is true in messages"),
    (CONFIRM, "neither case is true in messages"),
    (FRAUD_PROOF, "neither case is true in messages"),
    ({"close": 1}, "wrong period"),
    ({"close": 1, "period": 2}, "wrong period"),
    ({"close": 1, "period": 1.5}, "wrong period"),
    ({**CLOSE, "transferredFromMe": -1}, "bad amount spent by me: -1"),
    ({**CLOSE, "transferredFromMe": "much"}, "bad amount spent by me: much"),
]


@pytest.mark.parametrize(("data", "complaint"), OPEN_CASES)
def test_open_channel_turns_down(channel: TestChannel, watcher: Client, data: Any, complaint: str) -> None:
    say(channel, channel.a, data, FEE)
    assert text(turned_down(watcher, channel)) == complaint


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"aa_address": "A" * 32}, "signed for another channel"),
        ({"period": 2}, "signed for a different period of this channel"),
        ({"payment_amount": 2}, "invalid signature by peer"),
    ],
)
def test_open_channel_turns_down_packages(
    channel: TestChannel, watcher: Client, change: dict[str, Any], complaint: str
) -> None:
    say(channel, channel.a, {**CLOSE, "sentByPeer": claim(channel, channel.b, change)}, FEE)
    assert text(turned_down(watcher, channel)) == complaint


def test_amount_in_a_signed_package_must_be_one(channel: TestChannel, watcher: Client) -> None:
    package = channel.signed(channel.b, -1)
    say(channel, channel.a, {**CLOSE, "sentByPeer": package}, FEE)
    assert text(turned_down(watcher, channel)) == "bad amount spent by peer: -1"


def test_own_package_is_not_the_peers(channel: TestChannel, watcher: Client) -> None:
    say(channel, channel.a, {**CLOSE, "sentByPeer": claim(channel, channel.a)}, FEE)
    assert text(turned_down(watcher, channel)) == "invalid signature by peer"


def test_closing_channel_turns_down(channel: TestChannel, watcher: Client, carol: Actor) -> None:
    close(channel, claimed=1_000)
    for sender, data, complaint in (
        (channel.b, CONFIRM, "too early"),
        (carol, CONFIRM, "too early"),
        (channel.a, {"confirm": 1}, "wrong period"),
        (channel.a, {"confirm": 1, "period": 2}, "wrong period"),
        (channel.a, {**CONFIRM, "additionalTransferredFromMe": "x"}, "bad additionalTransferredFromMe: x"),
        (channel.a, CLOSE, "neither case is true in messages"),
        (channel.a, FRAUD_PROOF, "neither case is true in messages"),
        (channel.a, {**FRAUD_PROOF, "sentByPeer": claim(channel, channel.b)}, "the peer didn't lie in his favor"),
        (
            channel.a,
            {**FRAUD_PROOF, "sentByPeer": claim(channel, channel.a, amount_spent=9_000)},
            "invalid signature by peer",
        ),
    ):
        say(channel, sender, data, FEE)
        assert text(turned_down(watcher, channel)) == complaint


def test_error_of_a_formula_is_an_object_that_names_its_place(channel: TestChannel, watcher: Client) -> None:
    say(channel, channel.a, {"close": 1, "period": 7}, FEE)
    error = turned_down(watcher, channel)["response"]["error"]
    assert error == {
        "message": "wrong period",
        "trace": [{"type": "aa", "aa": channel.address, "xpath": "/messages/cases/1/init"}],
    }


def test_error_where_no_case_fits_is_an_object_without_a_trace(channel: TestChannel, watcher: Client) -> None:
    say(channel, channel.a, None, FEE)
    error = turned_down(watcher, channel)["response"]["error"]
    assert error == {"message": "neither case is true in messages", "xpath": "/messages/cases"}


def test_too_little_is_kept_without_a_word(channel: TestChannel, watcher: Client, carol: Actor) -> None:
    owned = channel.ledger.state.agents[channel.address].balances["base"]
    say(channel, carol, None, FEE - 1)
    pushed = turned_down(watcher, channel)
    assert pushed["response"]["error"] == "received bytes are not enough to cover bounce fees"
    assert pushed["response_unit"] is None
    assert pushed["balances"] == {"base": owned + FEE - 1}


def test_exactly_the_fee_is_kept_with_a_reason(channel: TestChannel, watcher: Client, carol: Actor) -> None:
    say(channel, carol, None, FEE)
    pushed = turned_down(watcher, channel)
    assert text(pushed) == "neither case is true in messages"
    assert (pushed["response_unit"], pushed["objResponseUnit"]) == (None, None)


def test_one_byte_more_comes_back(channel: TestChannel, watcher: Client, carol: Actor) -> None:
    say(channel, carol, None, FEE + 1)
    assert returned(turned_down(watcher, channel), carol) == {"base": 1}


def test_what_is_more_than_the_fee_comes_back(channel: TestChannel, watcher: Client, carol: Actor) -> None:
    before = carol.balance()
    sent = say(channel, carol, {"nonsense": 1}, SENT)
    assert returned(turned_down(watcher, channel), carol) == {"base": SENT - FEE}
    assert carol.balance() == before - cost(sent) - FEE


def test_assets_come_back_whole(ledger: Ledger, channel: TestChannel, watcher: Client, carol: Actor) -> None:
    asset = ledger.treasury.issue(1_000)
    carol.fund(700, asset)
    ledger.post(carol.compose([Output(channel.address, FEE), Output(channel.address, 300, asset)], []))
    ledger.settle()
    assert returned(turned_down(watcher, channel), carol) == {asset: 300}
    assert carol.balance(asset) == 700


def test_nothing_comes_back_of_assets_without_the_fee(
    ledger: Ledger, channel: TestChannel, watcher: Client, carol: Actor
) -> None:
    asset = ledger.treasury.issue(1_000)
    carol.fund(700, asset)
    ledger.post(carol.compose([Output(channel.address, 300, asset)], [data_message({"any": 1})]))
    ledger.settle()
    assert turned_down(watcher, channel)["response_unit"] is None
    assert carol.balance(asset) == 400


def test_state_is_as_it_was(channel: TestChannel, watcher: Client, carol: Actor) -> None:
    before = watcher.ask("light/get_aa_state_vars", {"address": channel.address})
    for data, _ in OPEN_CASES:
        say(channel, carol, data, SENT)
        turned_down(watcher, channel)
    assert watcher.ask("light/get_aa_state_vars", {"address": channel.address}) == before


def returned(pushed: dict[str, Any], to: Actor) -> dict[str, int]:
    payments = [message["payload"] for message in pushed["objResponseUnit"]["messages"]]
    return {
        payment.get("asset", "base"): output["amount"]
        for payment in payments
        for output in payment["outputs"]
        if output["address"] == to.address
    }


def cost(record: UnitRecord) -> int:
    unit: dict[str, Any] = record.unit
    return int(unit["headers_commission"] + unit["payload_commission"] + unit["tps_fee"])
