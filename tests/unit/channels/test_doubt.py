"""After a restore of the database: what is refused in an unsure period, what is not, and when it ends."""

from __future__ import annotations

from typing import Any

import pytest

from shared.channels.closing import Confirm, FraudProof, next_trigger, order_close
from shared.channels.doubt import UNCONFIRMED_S, unsure_period
from shared.channels.errors import NotClosableError, NotPayableError
from shared.channels.ledger import Closed, apply
from shared.channels.model import Channel, Status
from shared.channels.paying import create_payment
from tests.unit.channels.builders import accepted, new_channel, open_channel, package, refused

RESTORED_S = 1_700_000_000


def closing_by_peer(claimed: int, **changes: Any) -> Channel:
    return open_channel(
        status=Status.CLOSING_BY_PEER, claimed_by_peer=claimed, close_started_at_s=1_000, unsure_period=1, **changes
    )


def test_nothing_is_accepted_signed_or_closed_in_an_unsure_period() -> None:
    channel = open_channel(unsure_period=1, deposited_by_me=5_000)
    assert refused(channel, package(100, 100)) == "channel_unsure"
    with pytest.raises(NotPayableError):
        create_payment(channel, 1)
    with pytest.raises(NotClosableError):
        order_close(channel)


def test_a_closing_that_was_ordered_before_is_not_sent() -> None:
    assert next_trigger(open_channel(unsure_period=1, period_closed_by_me=1), ledger_time_s=0) is None


@pytest.mark.parametrize("claimed", [10, 15, 9_000])
def test_nothing_is_given_back_when_the_peer_closes_an_unsure_period(claimed: int) -> None:
    # Whatever he admits beyond our books may be what we gave goods for after the moment of the backup.
    channel = closing_by_peer(claimed, spent_by_peer=10, credit=4, claim="signed:10")
    assert next_trigger(channel, ledger_time_s=0) == Confirm(period=1, additional_from_me=0)


def test_a_closing_that_admits_less_than_even_the_old_claim_is_still_fraud() -> None:
    channel = closing_by_peer(9, spent_by_peer=10, claim="signed:10")
    assert next_trigger(channel, ledger_time_s=0) == FraudProof(period=1, claim="signed:10")


def test_our_own_closing_is_confirmed_after_its_timeout_in_an_unsure_period_too() -> None:
    channel = open_channel(status=Status.CLOSING_BY_ME, close_started_at_s=1_000, unsure_period=1)
    assert next_trigger(channel, ledger_time_s=2_000) == Confirm(period=1, additional_from_me=0)


def test_the_period_after_an_unsure_one_is_like_any_other() -> None:
    closing = closing_by_peer(0)
    closed = apply(closing, Closed(event_id=2, period=1, by_fraud_proof=False, received=0))
    assert not closed.is_unsure
    reopened = open_channel(period=2, unsure_period=1)
    assert accepted(reopened, package(100, 100, period=2)).spent_by_peer == 100


def test_a_channel_that_was_never_restored_is_never_unsure() -> None:
    assert not new_channel().is_unsure
    assert not open_channel().is_unsure


@pytest.mark.parametrize(
    ("began_at_s", "read_until_s", "is_unsure"),
    [
        pytest.param(RESTORED_S - 5_000, RESTORED_S + 10_000_000, True, id="begun before"),
        pytest.param(RESTORED_S + UNCONFIRMED_S, None, True, id="may have been funded before"),
        pytest.param(RESTORED_S + UNCONFIRMED_S + 1, None, False, id="begun after"),
        pytest.param(None, None, True, id="not begun, ledger not read"),
        pytest.param(None, RESTORED_S, True, id="not begun, may begin"),
        pytest.param(None, RESTORED_S + UNCONFIRMED_S + 1, False, id="not begun, and would begin after"),
    ],
)
def test_a_period_is_unsure_if_it_can_have_begun_before_the_restore(
    began_at_s: float | None,
    read_until_s: float | None,
    is_unsure: bool,  # noqa: FBT001 - a case's expectation
) -> None:
    channel = new_channel(period=3)
    found = unsure_period(channel, began_at_s=began_at_s, read_until_s=read_until_s, restored_at_s=RESTORED_S)
    assert found == (4 if is_unsure else 0)
