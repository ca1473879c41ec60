"""A hub that misbehaves does it as ordered, and no other hub of the ledger does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from devnet.faults import GET_PARENTS
from devnet.lies import LIES
from shared.obyte.composing import Output
from shared.obyte.errors import ObyteError
from shared.obyte.history import ProvenHistory, prove_history
from tests.devnet_support import Actor, Client, Hub, TestChannel

if TYPE_CHECKING:
    from devnet.ledger import Ledger


@pytest.fixture
def hub(ledger: Ledger) -> Hub:
    return Hub(ledger)


@pytest.fixture
def client(hub: Hub) -> Client:
    return hub.connect()


def history(client: Client, *addresses: str, ledger: Ledger) -> ProvenHistory:
    answer = client.ask("light/get_history", {"witnesses": [ledger.provider_address], "addresses": list(addresses)})
    return prove_history(answer, [ledger.provider_address], ledger.network, now_s=ledger.now_s())


def parents(client: Client, actor: Actor) -> Any:
    return client.ask(GET_PARENTS, {"from_addresses": [actor.address], "output_addresses": [actor.address]})


class TestLies:
    """Every lie of the table is told once, and by that hub alone."""

    @pytest.fixture
    def channel(self, channel: TestChannel) -> TestChannel:
        channel.open()
        ledger = channel.ledger
        coins, place = channel.b.coins(), channel.b.parents()
        for amount in (1, 2):
            joint = channel.b.compose([Output(channel.a.address, amount)], coins=coins, parents=place)
            ledger.post(joint, with_conflicts=True)
        ledger.settle()
        return channel

    @pytest.mark.parametrize("name", [name for name in LIES if LIES[name][0] == "light/get_history"])
    def test_lies_about_histories_change_what_they_say(
        self, hub: Hub, client: Client, channel: TestChannel, name: str
    ) -> None:
        question = {"witnesses": [channel.ledger.provider_address], "addresses": [channel.address, channel.b.address]}
        truth = client.ask("light/get_history", question)
        hub.faults.lie(*LIES[name])
        assert client.ask("light/get_history", question) != truth
        assert client.ask("light/get_history", question) == truth
        hub.faults.lie(*LIES[name])
        assert Hub(channel.ledger).connect().ask("light/get_history", question) == truth

    @pytest.mark.parametrize(
        "name",
        [
            "forged_ball",
            "forged_parent_ball",
            "serial_again",
            "forged_hash",
            "forged_amount",
            "forged_provider",
            "forged_anchor",
            "without_providers",
            "nonsense",
        ],
    )
    def test_forgeries_are_noticed(self, hub: Hub, client: Client, channel: TestChannel, name: str) -> None:
        hub.faults.lie(*LIES[name])
        with pytest.raises(ObyteError):
            history(client, channel.address, channel.b.address, ledger=channel.ledger)

    @pytest.mark.parametrize("name", ["without_balls", "rehashed_amount", "forged_agent_data", "invented_unit"])
    def test_what_is_not_proven_is_not_stable(self, hub: Hub, client: Client, channel: TestChannel, name: str) -> None:
        truth = history(client, channel.address, channel.b.address, ledger=channel.ledger)
        hub.faults.lie(*LIES[name])
        told = history(client, channel.address, channel.b.address, ledger=channel.ledger)
        stable = {unit.unit_hash for unit in truth.units if unit.is_stable}
        assert {unit.unit_hash for unit in told.units if unit.is_stable} <= stable
        assert any(not unit.is_stable for unit in told.units)

    def test_lies_about_nothing_are_nothing(self) -> None:
        for command, lie in LIES.values():
            if command == "light/get_history" and lie.__name__ != "nonsense":
                assert lie({}).get("joints", []) == []

    @pytest.mark.parametrize("name", [name for name in LIES if LIES[name][0] != "light/get_history"])
    def test_other_answers_can_be_false_too(self, hub: Hub, client: Client, alice: Actor, name: str) -> None:
        command, lie = LIES[name]
        questions: dict[str, Any] = {
            GET_PARENTS: {"from_addresses": [alice.address], "output_addresses": [alice.address]},
            "light/get_definition": alice.address,
            "get_joint": next(iter(hub.ledger.state.dag.records)),
        }
        truth = client.ask(command, questions.get(command))
        hub.faults.lie(command, lie)
        assert client.ask(command, questions.get(command)) not in (truth, None)


def test_hidden_unit_was_never_heard_of(hub: Hub, client: Client, channel: TestChannel) -> None:
    ledger = channel.ledger
    channel.open()
    client.say("light/new_address_to_watch", channel.b.address)
    client.say("light/new_aa_to_watch", {"aa": channel.address})
    joint = channel.b.compose([Output(channel.address, 60_000)], max_aa_responses=1)
    unit = joint["unit"]["unit"]
    hub.faults.hidden.add(unit)
    ledger.post(joint)
    assert client.told("joint") == []
    assert client.ask("get_joint", unit) == {"joint_not_found": unit}
    ledger.settle()
    assert client.told("light/aa_response") == []
    seen = history(client, channel.b.address, channel.address, ledger=ledger)
    assert unit not in {told.unit_hash for told in seen.units}
    assert unit not in {told.trigger_unit for told in seen.aa_responses}
    assert len(client.ask("light/get_aa_responses", {"aa": channel.address})) == 1
    honest = history(Hub(ledger).connect(), channel.b.address, ledger=ledger)
    assert unit in {told.unit_hash for told in honest.units}
    hub.faults.hidden.clear()
    assert unit in {told.unit_hash for told in history(client, channel.b.address, ledger=ledger).units}


def test_history_of_hidden_units_alone_is_empty(hub: Hub, client: Client, ledger: Ledger, alice: Actor) -> None:
    hub.faults.hidden.update(told.unit_hash for told in history(client, alice.address, ledger=ledger).units)
    assert history(client, alice.address, ledger=ledger).units == ()


def test_hub_that_stays_behind_proves_what_it_knows(
    hub: Hub, client: Client, ledger: Ledger, alice: Actor, bob: Actor
) -> None:
    client.say("light/new_address_to_watch", bob.address)
    alice.pay(bob.address, 1)
    ledger.settle()
    before = history(client, bob.address, ledger=ledger)
    hub.faults.knows_until_mci = len(ledger.state.dag.main_chain) - 1
    told = len(client.frames)
    alice.pay(bob.address, 2)
    ledger.settle()
    assert len(client.frames) == told
    behind = history(client, bob.address, ledger=ledger)
    assert [unit.unit_hash for unit in behind.units] == [unit.unit_hash for unit in before.units]
    assert all(unit.is_stable for unit in behind.units)
    assert behind.proof_timestamp_s == before.proof_timestamp_s


def test_histories_of_every_time_hold(hub: Hub, client: Client, channel: TestChannel) -> None:
    channel.open()
    channel.a.trigger(channel.address, {"close": 1, "period": 1})
    channel.ledger.settle()
    told = []
    for mci in range(len(channel.ledger.state.dag.main_chain)):
        hub.faults.knows_until_mci = mci
        seen = history(client, channel.address, channel.a.address, channel.b.address, ledger=channel.ledger)
        assert all(hint.mci <= mci - 2 for hint in seen.aa_responses)
        told.append((len(seen.units), sum(unit.is_stable for unit in seen.units), len(seen.aa_responses)))
    assert told == sorted(told)
    assert told[-1][2] == 2


def test_muted_subjects_are_not_told(hub: Hub, client: Client, alice: Actor, bob: Actor) -> None:
    client.say("light/new_address_to_watch", bob.address)
    hub.faults.muted = {"joint"}
    alice.pay(bob.address, 1)
    alice.ledger.settle()
    assert client.told("joint") == []
    assert client.told("light/have_updates")


def test_news_can_be_held_back_and_told_in_another_order(hub: Hub, client: Client, alice: Actor, bob: Actor) -> None:
    client.say("light/new_address_to_watch", bob.address)
    hub.hold_news()
    units = [alice.pay(bob.address, amount).hash for amount in (1, 2)]
    assert client.told("joint") == []
    hub.release_news(lambda news: news[::-1])
    assert [told["unit"]["unit"] for told in client.told("joint")] == units[::-1]
    alice.pay(bob.address, 3)
    assert len(client.told("joint")) == 3


def test_faults_can_last(hub: Hub, client: Client) -> None:
    hub.faults.deny("get_witnesses", "no", times=2)
    assert [client.ask("get_witnesses") == {"error": "no"} for _ in range(3)] == [True, True, False]
    hub.faults.refuse("get_witnesses", "never", times=None)
    assert all(client.ask("get_witnesses") == {"error": "never"} for _ in range(20))
    hub.faults.clear()
    assert client.ask("get_witnesses") == [hub.ledger.provider_address]


def test_slow_hub_delays_every_answer(hub: Hub, client: Client) -> None:
    hub.faults.answer_delay_s = 2
    hub.faults.delay_answer("get_witnesses", 1)
    client.ask("get_witnesses")
    client.ask("get_witnesses")
    assert client.delays[-2:] == [3, 2]


def test_silent_hub_says_nothing_but_does_what_it_is_told(hub: Hub, client: Client, alice: Actor, bob: Actor) -> None:
    hub.faults.is_silent = True
    told = len(client.frames)
    joint = alice.compose([Output(bob.address, 1)])
    with pytest.raises(LookupError):
        client.ask("post_joint", joint)
    assert len(client.frames) == told
    assert joint["unit"]["unit"] in hub.ledger.state.dag.records


def test_unanswered_heartbeats(hub: Hub, client: Client) -> None:
    hub.faults.ignores_heartbeats = True
    with pytest.raises(LookupError):
        client.ask("heartbeat")
    assert client.ask("get_witnesses")


def test_wrong_clock_dates_parents_and_judges_units(hub: Hub, client: Client, alice: Actor, bob: Actor) -> None:
    right = parents(client, alice)["timestamp"]
    hub.faults.clock_offset_s = -600.0
    assert parents(client, alice)["timestamp"] == right - 600
    joint = alice.compose([Output(bob.address, 1)])
    assert "error" in client.ask("post_joint", joint)
    hub.faults.clock_offset_s = 0
    assert client.ask("post_joint", joint) == "accepted"


def test_quoted_fee_is_not_the_true_one(hub: Hub, client: Client, alice: Actor) -> None:
    hub.faults.quoted_tps_fee = 123_456
    assert parents(client, alice)["tps_fee"] == 123_456
    assert parents(Hub(hub.ledger).connect(), alice)["tps_fee"] < 123_456


def test_fees_can_really_jump(client: Client, ledger: Ledger, alice: Actor, bob: Actor) -> None:
    cheap = parents(client, alice)["tps_fee"]
    ledger.vote("base_tps_fee", 100_000)
    for _ in range(3):
        ledger.advance()
    assert parents(client, alice)["tps_fee"] > 100 * cheap
    joint = alice.compose([Output(bob.address, 1)])
    assert client.ask("post_joint", joint) == "accepted"
    ledger.settle()


def test_vote_is_told_to_those_who_were_told_before(hub: Hub, client: Client, ledger: Ledger, alice: Actor) -> None:
    other = hub.connect()
    history(client, alice.address, ledger=ledger)
    before = len(client.told("system_vars"))
    ledger.vote("threshold_size", 20_000)
    newest, oldest = client.told("system_vars")[before]["threshold_size"]
    assert newest == {"vote_count_mci": ledger.state.last_stable_mci, "value": 20_000, "is_emergency": 0}
    assert oldest == {"vote_count_mci": -1, "value": 10_000, "is_emergency": 0}
    assert len(client.told("system_vars")[before]["base_tps_fee"]) == 1
    assert other.told("system_vars") == []


def test_threshold_holds_for_later_last_balls(ledger: Ledger, alice: Actor, bob: Actor) -> None:
    old = ledger.state.last_stable_mci
    ledger.vote("threshold_size", 300)
    assert ledger.state.votes.at(old).threshold_size == 10_000
    assert ledger.state.votes.at(old + 1).threshold_size == 300
    ledger.treasury.fund(bob.address, 5)  # the ledger's own units go by it too
    ledger.settle()
    ledger.treasury.fund(bob.address, 5)
    ledger.settle()


@pytest.mark.parametrize(
    ("subject", "value"),
    [("op_list", 1), ("threshold_size", 0), ("threshold_size", 1.5), ("base_tps_fee", -1), ("tps_interval", True)],
)
def test_not_everything_can_be_voted(ledger: Ledger, subject: str, value: float) -> None:
    with pytest.raises(ValueError, match=r"nobody votes|positive number"):
        ledger.vote(subject, value)


def test_hub_can_claim_votes_that_never_were(hub: Hub, client: Client, ledger: Ledger, alice: Actor) -> None:
    hub.faults.claimed_vars = {"op_list": [alice.address]}
    assert client.ask("get_system_vars")["op_list"][0]["value"] == [alice.address]
    history(client, alice.address, ledger=ledger)
    assert client.told("system_vars")[0]["op_list"][0]["value"] == [alice.address]
    assert client.ask("get_witnesses") == [ledger.provider_address]
    client.ask("devnet/condition", {"claimed_vars": {}})
    assert client.told("system_vars")[1]["op_list"][0]["value"] == [ledger.provider_address]


def test_everyone_can_be_told_anything(hub: Hub) -> None:
    clients = [hub.connect(), hub.connect()]
    hub.say("upgrade_required")
    hub.send_raw("no JSON")
    hub.send_raw(b"\0")
    for client in clients:
        assert client.told("upgrade_required") == [None]
        assert client.raw_frames[-2:] == ["no JSON", b"\0"]
    hub.faults.greeting = ("[]",)
    assert hub.connect().raw_frames[-1] == "[]"
    hub.drop_connections()
    assert all(client.is_cut for client in clients)


class TestControls:
    """The same by private requests."""

    def test_only_clients_of_this_machine_are_obeyed(self, hub: Hub) -> None:
        stranger = hub.connect(is_local=False)
        for command in ("devnet/pause", "devnet/fund", "devnet/condition"):
            assert "own machine" in stranger.ask(command, {})["error"]
        assert stranger.ask("get_witnesses")

    def test_time_stands_still_and_moves_on(self, client: Client, ledger: Ledger, alice: Actor, bob: Actor) -> None:
        assert client.ask("devnet/pause") == {"is_paused": True}
        assert ledger.is_paused
        alice.pay(bob.address, 1)
        mci = client.ask("devnet/advance")["last_stable_mci"]
        assert client.ask("devnet/advance", {"units": 5})["last_stable_mci"] > mci
        assert client.ask("devnet/resume") == {"is_paused": False}
        assert not ledger.is_paused

    def test_conflicts_can_be_posted_and_decided(self, client: Client, alice: Actor, bob: Actor, carol: Actor) -> None:
        coins, place = alice.coins(), alice.parents()
        joints = [alice.compose([Output(p.address, 5)], coins=coins, parents=place) for p in (bob, carol)]
        assert [client.ask("devnet/post", joint)["sequence"] for joint in joints] == ["good", "temp-bad"]
        unit = joints[1]["unit"]["unit"]
        assert client.ask("devnet/prefer", {"unit": unit}) == unit
        assert client.ask("devnet/forget", {"unit": joints[0]["unit"]["unit"]}) == joints[0]["unit"]["unit"]
        alice.ledger.settle()
        assert "error" in client.ask("devnet/forget", {"unit": unit})
        assert "error" in client.ask("devnet/recreate", {"unit": unit})

    @pytest.mark.parametrize("kind", ["refuse", "deny"])
    def test_answers_can_be_errors(self, client: Client, kind: str) -> None:
        order = {"command": "get_witnesses", "kind": kind, "text": "no", "times": 2}
        assert client.ask("devnet/fault", order) == "ordered"
        assert [client.ask("get_witnesses") == {"error": "no"} for _ in range(3)] == [True, True, False]

    def test_answers_can_be_lost_late_or_the_last(self, client: Client) -> None:
        client.ask("devnet/fault", {"command": "get_witnesses", "kind": "lose"})
        with pytest.raises(LookupError):
            client.ask("get_witnesses")
        client.ask("devnet/fault", {"command": "get_witnesses", "kind": "delay", "delay_s": 4})
        client.ask("get_witnesses")
        assert client.delays[-1] == 4
        client.ask("devnet/fault", {"command": "get_witnesses", "kind": "drop"})
        with pytest.raises(LookupError):
            client.ask("get_witnesses")
        assert client.is_cut

    def test_lies_are_told_on_request_until_honesty_is(self, client: Client) -> None:
        truth = client.ask("get_witnesses")
        client.ask("devnet/lie", {"name": "other_providers", "times": None})
        assert client.ask("get_witnesses") != truth
        assert client.ask("get_witnesses") != truth
        client.ask("devnet/honest")
        assert client.ask("get_witnesses") == truth

    def test_conditions_are_set_by_name(self, hub: Hub, client: Client) -> None:
        conditions: dict[str, Any] = {
            "hidden": ["A"],
            "muted": ["joint"],
            "greeting": ["{}"],
            "ignores_heartbeats": True,
            "answer_delay_s": 0.5,
            "clock_offset_s": -3,
            "quoted_tps_fee": 7,
            "knows_until_mci": 3,
            "claimed_vars": {"threshold_size": 5},
        }
        assert client.ask("devnet/condition", conditions) == "set"
        for name, value in conditions.items():
            found = getattr(hub.faults, name)
            assert (list(found) if isinstance(value, list) else found) == value
        with pytest.raises(LookupError):
            client.ask("devnet/condition", {"is_silent": True, "quoted_tps_fee": None})
        assert (hub.faults.is_silent, hub.faults.quoted_tps_fee) == (True, None)

    def test_news_can_be_held(self, client: Client, alice: Actor, bob: Actor) -> None:
        client.say("light/new_address_to_watch", bob.address)
        client.ask("devnet/hold_news")
        units = [alice.pay(bob.address, amount).hash for amount in (1, 2)]
        client.ask("devnet/release_news", {"is_reversed": True})
        assert [told["unit"]["unit"] for told in client.told("joint")] == units[::-1]

    def test_clients_can_be_told_and_cut(self, hub: Hub, client: Client) -> None:
        client.ask("devnet/say", {"subject": "error", "body": "something"})
        assert client.told("error") == ["something"]
        client.ask("devnet/send_raw", {"frame": "{"})
        assert "{" in client.raw_frames
        client.ask("devnet/kill_connections", {"frames": 3, "mid_frame": True, "connections": 2})
        assert hub.faults.dying is not None
        assert (hub.faults.dying.frames, hub.faults.dying.mid_frame, hub.faults.dying.connections) == (3, True, 2)
        client.ask("devnet/drop_connections")
        assert client.is_cut

    def test_votes(self, client: Client) -> None:
        answer = client.ask("devnet/vote", {"subject": "tps_interval", "value": 0.5})
        assert answer["tps_interval"][0]["value"] == 0.5

    @pytest.mark.parametrize(
        ("command", "params"),
        [
            ("devnet/advance", {"units": 0}),
            ("devnet/vote", {"subject": "op_list", "value": 1}),
            ("devnet/vote", {"subject": "tps_interval", "value": "1"}),
            ("devnet/post", {}),
            ("devnet/prefer", {}),
            ("devnet/prefer", {"unit": 5}),
            ("devnet/fault", {"command": "x", "kind": "other"}),
            ("devnet/fault", {"command": "x", "kind": "lose", "times": 0}),
            ("devnet/fault", {"command": "x", "kind": "delay", "delay_s": "1"}),
            ("devnet/lie", {"name": "white"}),
            ("devnet/condition", {"weather": 1}),
            ("devnet/condition", {"hidden": "A"}),
            ("devnet/condition", {"is_silent": 1}),
            ("devnet/condition", {"answer_delay_s": None}),
            ("devnet/condition", {"quoted_tps_fee": 1.5}),
            ("devnet/condition", {"claimed_vars": {"weather": 1}}),
            ("devnet/kill_connections", {"frames": -1}),
            ("devnet/say", {"body": 1}),
            ("devnet/send_raw", {"frame": 1}),
        ],
    )
    def test_bad_orders_are_refused(self, client: Client, command: str, params: Any) -> None:
        assert client.ask(command, params).keys() == {"error"}
