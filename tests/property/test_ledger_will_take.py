"""What a front accepts, the agent takes in a closing: otherwise goods would be given for money nobody can claim.

The agent here is the local ledger's, written from the ledger's side and proved by recorded runs of the real one. It
shares no rule with the verification it judges.
"""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devnet.agent import AgentState, ChannelParams, Response, Trigger, trigger
from devnet.packages import package_verifier
from shared.obyte.hashing import digest_of, sha256
from shared.obyte.networks import DEVNET
from shared.obyte.serialization import typed_source
from shared.receiving.errors import PackageRefused
from shared.receiving.verification import verify_payment_package
from tests.receiving_support import OWN, TIMEOUT_S, Payer

PAYER = Payer()
OPEN = AgentState(period=1, event_id=2, balance_b=10**12)
PARAMS = ChannelParams(PAYER.channel, OWN.address, PAYER.address, "base", TIMEOUT_S)

amounts = st.integers(min_value=1, max_value=10**12)
oddities = st.dictionaries(
    st.sampled_from(["version", "timestamp", "last_ball_unit", "extra", "period", "author"]),
    st.sampled_from(["1.0dev", "2.0dev", "3.0dev", "4.0dev", "4.0", "", None, 1, "1", 2**53, True, "x" * 44]),
    max_size=2,
)


def close_with(package: Any) -> Response:
    data = {"close": 1, "period": 1, "sentByPeer": package}
    event = Trigger(OWN.address, "u" * 43 + "=", {"base": 10_000}, data, timestamp_s=1_700_000_000)
    return trigger(OPEN, PARAMS, event, package_verifier(DEVNET))


def signed(amount_spent: int, payment: int, odd: dict[str, Any]) -> dict[str, Any]:
    """Sign what the oddities make of a package, as a payer could who wants it accepted and never claimed."""
    message = {"payment_amount": payment, "amount_spent": amount_spent, "period": 1, "aa_address": PAYER.channel}
    author = {"address": PAYER.address, "definition": PAYER.key.definition}
    package: dict[str, Any] = {"version": DEVNET.version, "signed_message": message, "authors": [author]}
    for name, value in odd.items():
        where = {"period": message, "author": author}.get(name, package)
        where["extra" if name == "author" else name] = value
    if package["version"] is None:
        del package["version"]
    try:
        digest = digest_of(package)
    except Exception:  # noqa: BLE001 - what cannot be hashed cannot be signed; any signature will do
        digest = bytes(32)
    return {**package, "authors": [{**author, "authentifiers": {"r": PAYER.key.sign(digest)}}]}


@given(amounts, amounts, oddities)
def test_whatever_is_accepted_can_be_claimed_for_the_same_amount(spent: int, payment: int, odd: dict[str, Any]) -> None:
    package = signed(spent, payment, odd)
    try:
        accepted = verify_payment_package(copy.deepcopy(package), DEVNET)
    except PackageRefused:
        return
    response = close_with(json.loads(accepted.text))
    assert not response.bounced, response.error
    assert response.state.spent_by_b == accepted.terms.amount_spent


@given(amounts)
def test_an_ordinary_package_is_accepted_and_claimed(spent: int) -> None:
    accepted = verify_payment_package(PAYER.package(spent, 1), DEVNET)
    assert close_with(json.loads(accepted.text)).state.spent_by_b == spent


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        pytest.param({"timestamp": 1_700_000_000}, "unknown_field", id="a timestamp"),
        pytest.param({"version": "1.0dev"}, "wrong_version", id="the version without timestamps"),
        pytest.param({"version": "4.0"}, "wrong_version", id="another network's version"),
        pytest.param({"last_ball_unit": "x" * 43 + "="}, "unknown_field", id="a reference to the ledger"),
    ],
)
def test_b14_a_package_that_the_agent_refuses_is_refused_at_the_door(odd: dict[str, Any], reason: str) -> None:
    package = signed(1_000, 1_000, odd)
    if odd.get("version") == "1.0dev":  # its signature covers the older text
        author = package["authors"][0]
        unsigned = {**package, "authors": [{name: author[name] for name in ("address", "definition")}]}
        author["authentifiers"]["r"] = PAYER.key.sign(sha256(typed_source(unsigned).encode()))
    assert close_with(package).bounced
    with pytest.raises(PackageRefused) as refusal:
        verify_payment_package(package, DEVNET)
    assert refusal.value.code == reason
