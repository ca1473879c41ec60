"""What the ledger answers to light clients, and how it turns down what cannot be answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from devnet import queries
from devnet.commands import COMMANDS
from devnet.request_fields import QueryError
from shared.obyte.agents import channel_definition
from shared.obyte.composing import read_parents

if TYPE_CHECKING:
    from devnet.ledger import Ledger
    from tests.devnet_support import Actor, TestChannel

PARENTS = "light/get_parents_and_last_ball_and_witness_list_unit"
SOMEONE = "4LLSURBMWBLF5S6X6NGZZPGK5NZT62V6"
SOME_UNIT = "A" * 43 + "="


def ask(ledger: Ledger, command: str, params: Any = None) -> Any:
    return COMMANDS[command](ledger, params)


def history(ledger: Ledger, **params: Any) -> Any:
    return ask(ledger, "light/get_history", {"witnesses": [ledger.provider_address]} | params)


def units_in(answer: Any) -> list[str]:
    return [joint["unit"]["unit"] for joint in answer.get("joints", ())]


def test_history_has_what_an_address_wrote_and_received(ledger: Ledger, alice: Actor, bob: Actor) -> None:
    sent = alice.pay(bob.address, 1_000)
    assert units_in(history(ledger, addresses=[bob.address]))[-1] == sent.hash  # unordered units come last
    ledger.settle()
    assert units_in(history(ledger, addresses=[alice.address]))[0] == sent.hash


def test_known_stable_units_are_left_out(ledger: Ledger, alice: Actor) -> None:
    everything = units_in(history(ledger, addresses=[alice.address]))
    assert history(ledger, addresses=[alice.address], known_stable_units=everything) == {}


def test_min_mci_leaves_out_what_is_older_and_keeps_what_has_no_place_yet(
    ledger: Ledger, alice: Actor, bob: Actor
) -> None:
    older = alice.pay(bob.address, 1_000)
    ledger.settle()
    newer = alice.pay(bob.address, 1_000)
    assert older.mci is not None
    assert units_in(history(ledger, addresses=[alice.address], min_mci=older.mci + 1)) == [newer.hash]
    assert older.hash in units_in(history(ledger, addresses=[alice.address], min_mci=older.mci))


def test_units_can_be_asked_for_by_hash(ledger: Ledger, alice: Actor, bob: Actor) -> None:
    sent = alice.pay(bob.address, 1_000)
    assert units_in(history(ledger, requested_joints=[sent.hash, SOME_UNIT])) == [sent.hash]


@pytest.mark.parametrize(
    "params",
    [
        None,
        {},
        {"addresses": []},
        {"addresses": ["nobody"]},
        {"addresses": SOMEONE},
        {"requested_joints": ["short"]},
        {"addresses": [SOMEONE], "witnesses": []},
        {"addresses": [SOMEONE], "witnesses": [SOMEONE, SOMEONE]},
        {"addresses": [SOMEONE], "min_mci": -1},
        {"addresses": [SOMEONE], "min_mci": "1"},
        {"addresses": [SOMEONE], "known_stable_units": []},
        {"addresses": [SOMEONE] * 2001},
        {"witnesses": [SOMEONE]},
    ],
)
def test_bad_history_requests(ledger: Ledger, params: Any) -> None:
    if isinstance(params, dict) and params:
        params = {"witnesses": [ledger.provider_address]} | params
    with pytest.raises(QueryError):
        ask(ledger, "light/get_history", params)


def test_foreign_witness_list_gets_no_proof(ledger: Ledger, alice: Actor) -> None:
    with pytest.raises(QueryError, match="witness list"):
        ask(ledger, "light/get_history", {"witnesses": [SOMEONE], "addresses": [alice.address]})


def test_too_large_a_history_is_refused(ledger: Ledger, alice: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "MAX_LISTED", 0)
    with pytest.raises(QueryError, match="your history is too large"):
        history(ledger, addresses=[alice.address])


def test_joint_by_hash(ledger: Ledger, alice: Actor, bob: Actor) -> None:
    sent = alice.pay(bob.address, 1_000)
    joint = ask(ledger, "get_joint", sent.hash)["joint"]
    assert joint["unit"]["unit"] == sent.hash
    assert joint["unit"]["main_chain_index"] is None
    assert "ball" not in joint
    assert ask(ledger, "get_joint", SOME_UNIT) == {"joint_not_found": SOME_UNIT}
    for _ in range(12):
        ledger.advance()
    assert ask(ledger, "get_joint", sent.hash)["joint"]["ball"] == sent.ball
    with pytest.raises(QueryError):
        ask(ledger, "get_joint", 5)


def test_parents_are_what_a_client_expects(ledger: Ledger, alice: Actor, channel: TestChannel) -> None:
    channel.open()
    params = {"witnesses": [ledger.provider_address], "from_addresses": [alice.address]}
    params |= {"output_addresses": [alice.address, channel.address], "max_aa_responses": 1}
    parents = read_parents(ask(ledger, PARENTS, params), now_s=ledger.now_s())
    assert parents.count_primary_aa_triggers == 1
    dearer = read_parents(ask(ledger, PARENTS, params | {"max_aa_responses": 10}), now_s=ledger.now_s())
    assert dearer.tps_fee > parents.tps_fee >= 0


@pytest.mark.parametrize(
    "change",
    [
        {"witnesses": []},
        {"witnesses": ["nobody"]},
        {"from_addresses": []},
        {"from_addresses": ["nobody"]},
        {"from_addresses": [SOMEONE] * 17},
        {"output_addresses": None},
        {"output_addresses": [SOMEONE] * 201},
        {"max_aa_responses": 11},
        {"max_aa_responses": "1"},
    ],
)
def test_bad_parents_requests(ledger: Ledger, change: dict[str, Any]) -> None:
    params = {"witnesses": [ledger.provider_address], "from_addresses": [SOMEONE], "output_addresses": [SOMEONE]}
    with pytest.raises(QueryError):
        ask(ledger, PARENTS, params | change)


def test_definitions(ledger: Ledger, alice: Actor, bob: Actor, channel: TestChannel) -> None:
    assert ask(ledger, "light/get_definition", alice.address) is None
    unknown = {"definition_chash": alice.address, "is_stable": True}
    assert ask(ledger, "light/get_definition_for_address", {"address": alice.address}) == unknown
    alice.pay(bob.address, 1_000)
    told = {"definition_chash": alice.address, "definition": alice.key.definition, "is_stable": False}
    assert ask(ledger, "light/get_definition_for_address", {"address": alice.address}) == told
    ledger.settle()
    assert ask(ledger, "light/get_definition_for_address", {"address": alice.address}) == told | {"is_stable": True}
    assert ask(ledger, "light/get_definition", alice.address) == alice.key.definition
    assert ask(ledger, "light/get_definition_chash", {"address": alice.address}) == alice.address

    ledger.post(channel.open_unit(50_000))
    expected = channel_definition(alice.address, bob.address, "base", 1000, "salt")
    assert ask(ledger, "light/get_definition", channel.address) == expected


def test_balances(ledger: Ledger, alice: Actor, bob: Actor) -> None:
    sent = alice.pay(bob.address, 1_000)
    balances = ask(ledger, "light/get_balances", [alice.address, bob.address, SOMEONE])
    assert SOMEONE not in balances
    pending = {"stable": 10**9, "pending": 1_000, "stable_outputs_count": 1, "pending_outputs_count": 1}
    assert balances[bob.address] == {"base": pending | {"total": 10**9 + 1_000}}
    assert balances[alice.address]["base"]["stable"] == 0
    asset = ledger.treasury.issue(10)
    bob.fund(7, asset)
    assert ask(ledger, "light/get_balances", [bob.address])[bob.address][asset]["stable"] == 7
    assert sent.is_stable


@pytest.mark.parametrize("params", [None, [], ["nobody"], [SOMEONE] * 101, SOMEONE])
def test_bad_balance_requests(ledger: Ledger, params: Any) -> None:
    with pytest.raises(QueryError):
        ask(ledger, "light/get_balances", params)


def test_agent_state_and_balances(ledger: Ledger, channel: TestChannel) -> None:
    asked = {"address": channel.address}
    with pytest.raises(QueryError, match="not an AA"):
        ask(ledger, "light/get_aa_state_vars", asked)
    ledger.post(channel.open_unit(50_000))
    assert ask(ledger, "light/get_aa_state_vars", asked) == {}
    ledger.settle()
    assert ask(ledger, "light/get_aa_state_vars", asked) == {"balanceB": 50_000, "event_id": 2, "period": 1}
    assert ask(ledger, "light/get_aa_state_vars", asked | {"var_prefix": "balance"}) == {"balanceB": 50_000}
    some = {"var_prefix_from": "c", "var_prefix_to": "event"}
    assert ask(ledger, "light/get_aa_state_vars", asked | some) == {"event_id": 2}
    assert ask(ledger, "light/get_aa_state_vars", asked | {"limit": 1}) == {"balanceB": 50_000}
    assert ask(ledger, "light/get_aa_balances", asked) == {"balances": {"base": 49_181}}
    assert ask(ledger, "light/get_aa_balances", {"address": SOMEONE}) == {"balances": {}}


def test_dry_run_changes_nothing(ledger: Ledger, channel: TestChannel, alice: Actor) -> None:
    channel.open(50_000)
    before = ask(ledger, "light/get_aa_state_vars", {"address": channel.address})
    asked = {"address": channel.address, "trigger": {"address": alice.address, "outputs": {"base": 30_000}}}
    (response,) = ask(ledger, "light/dry_run_aa", asked)
    assert response["bounced"] is False
    assert response["objResponseUnit"]["authors"] == [{"address": channel.address}]
    assert response["updatedStateVars"][channel.address]["balanceA"] == {
        "value": 30_000,
        "old_value": 0,
        "delta": 30_000,
    }
    assert ask(ledger, "light/get_aa_state_vars", {"address": channel.address}) == before
    assert response["response_unit"] not in ledger.state.dag.records


@pytest.mark.parametrize(("amount", "is_evaluated"), [(10_000, True), (9_999, False)])
def test_dry_run_tells_the_logs_of_what_it_evaluated(
    ledger: Ledger, channel: TestChannel, amount: int, *, is_evaluated: bool
) -> None:
    channel.open()
    asked = {"address": channel.address, "trigger": {"address": SOMEONE, "outputs": {"base": amount}}}
    (response,) = ask(ledger, "light/dry_run_aa", asked)
    assert response["bounced"] is True
    assert response.get("logs") == ([] if is_evaluated else None)


@pytest.mark.parametrize(
    "trigger",
    [
        None,
        {},
        {"address": SOMEONE},
        {"address": "nobody", "outputs": {"base": 10_000}},
        {"address": SOMEONE, "outputs": {}},
        {"address": SOMEONE, "outputs": {"base": 0}},
        {"address": SOMEONE, "outputs": {SOME_UNIT: 5}},
        {"address": SOMEONE, "outputs": {"base": 10_000, SOME_UNIT: 5}},
        {"address": SOMEONE, "outputs": {"base": 10_000}, "data": {"a": None}},
        {"address": SOMEONE, "outputs": {"base": 10_000}, "extra": 1},
    ],
)
def test_bad_dry_runs(ledger: Ledger, channel: TestChannel, trigger: Any) -> None:
    channel.open()
    with pytest.raises(QueryError):
        ask(ledger, "light/dry_run_aa", {"address": channel.address, "trigger": trigger})


def test_responses_are_listed_newest_first_unless_asked(ledger: Ledger, channel: TestChannel, alice: Actor) -> None:
    channel.open()
    asked = alice.trigger(channel.address, amount=30_000)
    ledger.settle()
    newest, oldest = ask(ledger, "light/get_aa_responses", {"aa": channel.address})
    assert newest["trigger_unit"] == asked.hash
    assert newest["bounced"] == 0
    assert newest["response"] == {}
    assert newest["objResponseUnit"]["unit"] == newest["response_unit"]
    sent = ledger.state.dag.records[newest["response_unit"]]
    assert newest["objResponseUnit"] == {**sent.unit, "main_chain_index": sent.mci, "actual_tps_fee": None}
    listed = ask(ledger, "light/get_aa_responses", {"aas": [channel.address], "order": "ASC"})
    assert listed == [oldest, newest]
    assert ask(ledger, "light/get_aa_responses", {"aa": channel.address, "min_mci": newest["mci"]}) == [newest]
    assert ask(ledger, "light/get_aa_response_chain", {"trigger_unit": asked.hash}) == [newest]
    with pytest.raises(QueryError):
        ask(ledger, "light/get_aa_response_chain", {"trigger_unit": SOME_UNIT})


def test_coins_are_picked_by_policy(ledger: Ledger, alice: Actor, bob: Actor) -> None:
    def picked(policy: str, amount: int = 900_000_000) -> int:
        params = {"addresses": [bob.address], "amount": amount, "last_ball_mci": ledger.state.last_stable_mci}
        answer = ask(ledger, "light/pick_divisible_coins_for_amount", params | {"spend_unconfirmed": policy})
        return int(answer["total_amount"])

    assert picked("none") == 10**9
    alice.pay(bob.address, 500_000_000)
    assert picked("own", 1_200_000_000) == 0
    assert picked("all", 1_200_000_000) == 1_500_000_000


def test_system_variables_and_positions(ledger: Ledger) -> None:
    variables = ask(ledger, "get_system_vars")
    assert variables["op_list"][0]["value"] == [ledger.provider_address]
    assert variables["threshold_size"] == [{"vote_count_mci": -1, "value": 10_000, "is_emergency": 0}]
    last = ask(ledger, "get_last_mci")
    ledger.advance()
    assert ask(ledger, "get_last_mci") == last + 1
    assert ask(ledger, "get_last_stable_unit_props")["main_chain_index"] == ledger.state.last_stable_mci
