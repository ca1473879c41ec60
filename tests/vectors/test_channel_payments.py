"""The reference peer's own verdicts on packages (its verifier, run on its own database), step by step.

Ours are the same but for its defects, which are listed here by name with what we do instead.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from shared.channels.acceptance import Accepted, accept
from shared.channels.model import Allowance, Channel, PeerUnit, Status, UnconfirmedLimits
from shared.obyte.networks import LIVENET
from shared.receiving.errors import ReceivingError
from shared.receiving.opening import OpeningLimits, address_of, check_terms
from shared.receiving.verification import SignedPayment, verify_payment_package

VECTORS = json.loads((Path(__file__).parent / "obyte" / "channel_payments.json").read_text())["cases"]
CASES = {case["name"]: case for case in VECTORS}
NOW_S = 1_000_000.0
OPENING = OpeningLimits(min_timeout_s=800, max_timeout_s=1_500, max_unfunded_per_peer=10, max_unfunded=10)

OTHERWISE = {
    # A retry is answered with the first receipt; the reference calls it over credit, or credits it again (B3).
    ("normal sequence", "exact replay of the 2nd package"): "duplicate",
    ("B3: replay of an identical package spends the credit again", "same package again"): "duplicate",
    # Credit may pay for it, but the evidence stays (B1).
    (
        "B1: a package with a lower amount_spent replaces the stored evidence",
        "later package amount_spent 1, payment 1 from credit",
    ): "accepted, claim 10000",
    # Only signatures are credit (B2).
    ("B2: unconfirmed allowance is usable as credit without increasing amount_spent", "pays 1000 with increase 1"): (
        "Payment amount is over your available credit."
    ),
    ("B2: unconfirmed allowance is usable as credit without increasing amount_spent", "same package replayed"): (
        "Payment amount is over your available credit."
    ),
    ("B2: unconfirmed allowance is usable as credit without increasing amount_spent", "and again"): (
        "Payment amount is over your available credit."
    ),
    # The limit of 3000 is usable in full (B10), so the payment of 1000 after it has to wait for its own signature.
    ("unconfirmed deposit within limits", "up to the channel limit 3000"): "accepted, claim 3000",
    ("unconfirmed deposit within limits", "2000: one more that the reference still refuses"): (
        "Payment amount is over your available credit."
    ),
    ("unconfirmed deposit within limits", "2000 is the most the reference accepts"): (
        "Payment amount is over your available credit."
    ),
    # The agent would not take these in a closing (B14).
    (
        "timestamp field: accepted by the verifier but useless on the AA",
        "with timestamp",
    ): "signed_package has an unknown field 'timestamp'",
    (
        "timestamp field: accepted by the verifier but useless on the AA",
        "version 1.0 format",
    ): "version should be '4.0'",
}


@dataclass
class Receiver:
    """A receiver reduced to the rules: one channel, the packages accepted so far, and what stands behind them."""

    case: dict[str, Any]
    channel: Channel | None = None
    accepted: set[tuple[str, int, int, int]] = field(default_factory=set)

    def __post_init__(self) -> None:
        state = self.case["initial_state"]
        if state is not None:
            self.channel = Channel(
                self.case["aa_address"],
                self.case["my_address"],
                self.case["peer_address"],
                asset="base",
                timeout_s=1_000,
                status=Status(state["status"]),
                period=state["period"],
                deposited_by_peer=state["amount_deposited_by_peer"],
                spent_by_peer=state["amount_spent_by_peer"],
                spent_by_me=state["amount_spent_by_me"],
                credit=state["overpayment_from_peer"],
                period_closed_by_me=state["last_period_closed_by_me"],
                definition_confirmed=bool(state["is_definition_confirmed"]),
            )

    def take(self, package: Any) -> str:
        try:
            payment = verify_payment_package(package, LIVENET)
            channel = self.channel or self._open(payment)
        except ReceivingError as refusal:
            return refusal.text
        if payment.terms.key in self.accepted:
            return "duplicate"
        outcome = accept(channel, payment.terms, payment.text, self._allowance())
        if not isinstance(outcome, Accepted):
            return outcome.reason
        self.channel = outcome.channel
        self.accepted.add(payment.terms.key)
        return f"accepted, claim {self.claimed}"

    @property
    def claimed(self) -> int | None:
        """What the stored evidence proves."""
        claim = self.channel.claim if self.channel else None
        return json.loads(claim)["signed_message"]["amount_spent"] if claim else None

    def _open(self, payment: SignedPayment) -> Channel:
        parameters = payment.channel_parameters
        if parameters is None:
            raise ReceivingError("unknown_channel", "unknown channel")
        check_terms(parameters, self.case["my_address"], OPENING)
        assert address_of(parameters, self.case["my_address"]) == payment.terms.aa_address
        self.channel = Channel(
            payment.terms.aa_address, self.case["my_address"], parameters.address, "base", parameters.timeout_s
        )
        return self.channel

    def _allowance(self) -> Allowance:
        limits = self.case["limits"]["base"]
        units = tuple(
            PeerUnit(
                unit=f"unit {number}",
                first_seen_s=NOW_S - unit.get("age", 100),
                amount=unit.get("amount", 0),
                closes=bool(unit.get("close_channel")),
                publishes_definition=bool(unit.get("has_definition")),
                is_bad=bool(unit.get("is_bad_sequence")),
            )
            for number, unit in enumerate(self.case["unconfirmed_units"])
        )
        own = UnconfirmedLimits(
            limits["max_unconfirmed_by_asset"],
            limits["max_unconfirmed_by_channel"],
            limits["minimum_time_in_seconds"],
        )
        return Allowance(units=units, limits=own, now_s=NOW_S)


@pytest.mark.parametrize("name", CASES)
def test_our_verdicts_are_the_references_but_for_its_defects(name: str) -> None:
    receiver = Receiver(CASES[name])
    for step in CASES[name]["steps"]:
        verdict = receiver.take(step["package"])
        ours = OTHERWISE.get((name, step["step"]))
        if ours is not None:
            assert verdict == ours, step["step"]
        elif "error" in step["result"]:
            assert verdict == step["result"]["error"], step["step"]
        else:
            assert verdict == f"accepted, claim {step['amount_spent_in_stored_package']}", step["step"]
            assert receiver.channel is not None
            assert receiver.channel.spent_by_peer == step["state_after"]["amount_spent_by_peer"]
            assert receiver.channel.credit == step["state_after"]["overpayment_from_peer"]


def test_every_exception_belongs_to_a_step_that_exists() -> None:
    steps = {(case["name"], step["step"]) for case in VECTORS for step in case["steps"]}
    assert OTHERWISE.keys() <= steps


def test_every_step_marked_as_a_defect_is_an_exception_or_refused_alike() -> None:
    marked = {(case["name"], step["step"]) for case in VECTORS for step in case["steps"] if "reference_defect" in step}
    assert marked <= OTHERWISE.keys()
