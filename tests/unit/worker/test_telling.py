"""What followers learn of the agent's answers."""

from __future__ import annotations

import pytest

from shared.channels.ledger import Closed, Closing, LedgerEvent, Opened, Refused
from shared.channels.model import Channel
from worker.telling import told

CHANNEL = Channel("C" * 32, "O" * 32, "P" * 32, "base", 1_000)
OPENED = Opened(event_id=1, period=1, balance_of_peer=5, balance_of_me=7, trigger_unit="t")


@pytest.mark.parametrize(
    ("event", "is_ours", "kind", "facts"),
    [
        (OPENED, True, "my_deposit_became_stable", {"deposited": 7, "trigger_unit": "t", "period": 1}),
        (OPENED, False, "peer_deposit_became_stable", {"deposited": 5, "trigger_unit": "t", "period": 1}),
        (Refused(1, "t"), True, "refused_deposit", {"trigger_unit": "t"}),
        (
            Closing(1, 2, by_me=False, spent_by_peer=3, spent_by_me=4, timestamp_s=5, trigger_unit="t"),
            False,
            "channel_closing",
            {"period": 2, "by": "peer", "spent_by_peer": 3, "spent_by_me": 4, "timeout_s": 1_000, "trigger_unit": "t"},
        ),
        (Closed(1, 2, by_fraud_proof=False, received=9), False, "channel_closed", {"period": 2, "received": 9}),
        (
            Closed(1, 2, by_fraud_proof=True, received=9),
            False,
            "channel_closed_with_fraud_proof",
            {"period": 2, "received": 9},
        ),
    ],
)
def test_an_answer_of_the_agent_is_told(
    event: LedgerEvent, *, is_ours: bool, kind: str, facts: dict[str, object]
) -> None:
    tells = told(event, CHANNEL, unit="r", is_ours=is_ours)
    assert tells is not None
    assert (tells.kind, tells.aa_address) == (kind, CHANNEL.aa_address)
    assert tells.data == {"asset": "base", "unit": "r", **facts}


def test_a_deposit_of_the_peer_that_was_sent_back_is_his_own_affair() -> None:
    assert told(Refused(1, "t"), CHANNEL, unit="r", is_ours=False) is None
