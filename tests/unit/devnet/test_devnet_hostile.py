"""Nothing a stranger sends breaks the hub, and no mutilated unit makes money."""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from devnet.commands import COMMANDS
from devnet.ledger import Ledger
from devnet.private_commands import PRIVATE_COMMANDS
from shared.obyte.coins import Outpoint
from shared.obyte.composing import Output
from shared.obyte.errors import ObyteError
from tests.devnet_support import Actor, Hub

BASE_AGENT = "4IRUGAUUCAQ6QRQLG4SNOLOE6VW2STWZ"
REQUESTS = [*COMMANDS, *PRIVATE_COMMANDS, "post_joint", "hub/temp_pubkey", "hub/get_temp_pubkey", "hub/deliver"]
SUBJECTS = [
    "version",
    "hub/login",
    "hub/refresh",
    "hub/delete",
    "light/new_address_to_watch",
    "light/new_aa_to_watch",
    "joint",
]
FEES = ("headers_commission", "payload_commission", "oversize_fee", "tps_fee", "burn_fee")
FIELDS = [
    "address",
    "addresses",
    "witnesses",
    "from_addresses",
    "output_addresses",
    "requested_joints",
    "min_mci",
    "unit",
    "known_stable_units",
    "trigger",
    "outputs",
    "data",
    "base",
    "aa",
    "aas",
    "order",
    "amount",
    "asset",
    "cap",
    "seconds",
    "var_prefix",
    "limit",
    "trigger_unit",
    "authors",
    "messages",
    "version",
    "alt",
    "timestamp",
    "ball",
    "challenge",
    "pubkey",
    "signature",
]

HUB = Hub(Ledger(seed=b"hostile"))

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=50)
    | st.sampled_from([BASE_AGENT, "A" * 43 + "=", "base", "\ud800", "\0"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
    max_leaves=8,
)


@given(command=st.sampled_from(REQUESTS), params=values)
@settings(max_examples=300, deadline=None)
def test_nothing_a_stranger_asks_breaks_the_hub(command: str, params: Any) -> None:
    HUB.connect().ask(command, params)


@given(subject=st.sampled_from(SUBJECTS), body=values)
@settings(max_examples=200, deadline=None)
def test_nothing_a_stranger_says_breaks_the_hub(subject: str, body: Any) -> None:
    HUB.connect().say(subject, body)


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_no_mutilated_unit_breaks_the_hub_or_makes_money(data: st.DataObject) -> None:
    ledger = Ledger(seed=b"hostile", clock=lambda: 1_700_000_000.0)
    actor = Actor(ledger, 1)
    actor.fund()
    records = ledger.state.dag.records
    unit = actor.compose([Output(BASE_AGENT, 1_000)])["unit"]
    for _ in range(data.draw(st.integers(1, 3))):
        _mutilate(unit, data)
    with contextlib.suppress(ObyteError, LookupError, TypeError, ValueError, AttributeError, StopIteration):
        unit = actor.resigned(unit, fees=False)["unit"]
    before = set(records)
    Hub(ledger).connect().ask("post_joint", {"unit": unit})
    for unit_hash in records.keys() - before:
        accepted: Any = records[unit_hash].unit
        payload = accepted["messages"][0]["payload"]
        spent = [ledger.state.outputs.get(Outpoint(**coin)) for coin in payload["inputs"]]
        paid = sum(output["amount"] for output in payload["outputs"]) + sum(accepted.get(fee, 0) for fee in FEES)
        assert sum(coin.amount for coin in spent if coin) == paid
    ledger.settle()


def _mutilate(unit: dict[str, Any], data: st.DataObject) -> None:
    """Replace, remove or repeat a value somewhere in a unit."""
    place: Any = unit
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.integers(0, 3)) == 0:
            break
        place = place[key]
    action = data.draw(st.sampled_from(["replace", "remove", "repeat"]))
    if action == "remove":
        del place[key]
    elif action == "repeat" and isinstance(place, list):
        place.append(place[key])
    else:
        place[key] = data.draw(values)
