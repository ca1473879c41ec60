from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from shared.interledger.errors import InterledgerError
from shared.interledger.ildcp import REQUEST_LIFETIME as MINUTE
from shared.interledger.ildcp import (
    AccountDetails,
    answer_peer,
    check_config_request,
    config_request,
    config_response,
    read_config_response,
)
from shared.interledger.packets import Fulfill, Reject, decode_packet, decode_prepare, encode_packet
from tests.vectors.ilp_vectors import Case, cases, is_refused, iso, label, moment

NOW = datetime(2026, 11, 20, tzinfo=UTC)


def _details(value: Case) -> AccountDetails:
    return AccountDetails(value["clientAddress"], value["assetScale"], value["assetCode"])


@pytest.mark.parametrize("case", cases("ildcp", "request.encode"), ids=label)
def test_questions(case: Case) -> None:
    data = bytes.fromhex(case["in"].get("data", ""))
    request = config_request(moment(case["in"]["expiresAt"]) - MINUTE, data)
    assert encode_packet(request).hex() == case["out"]


@pytest.mark.parametrize("case", cases("ildcp", "request.decode"), ids=label)
def test_questions_of_others(case: Case) -> None:
    prepare = decode_prepare(bytes.fromhex(case["in"]))
    if is_refused(case):
        with pytest.raises(InterledgerError):
            check_config_request(prepare, NOW)
    else:
        check_config_request(prepare, NOW)
        assert {"expiresAt": iso(prepare.expires_at), "data": prepare.data.hex()} == case["out"]


@pytest.mark.parametrize("case", cases("ildcp", "response.encode"), ids=label)
def test_answers(case: Case) -> None:
    assert encode_packet(config_response(_details(case["in"]))).hex() == case["out"]


@pytest.mark.parametrize("case", cases("ildcp", "response.decode"), ids=label)
def test_answers_of_others(case: Case) -> None:
    if is_refused(case):
        with pytest.raises(InterledgerError):
            read_config_response(decode_packet(bytes.fromhex(case["in"])))
    else:
        assert read_config_response(decode_packet(bytes.fromhex(case["in"]))) == _details(case["out"])


OURS = "test.us"
DETAILS = AccountDetails("test.us.child", 9, "GBYTE")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, None),
        ({"amount": 5}, None),
        ({"destination": "peer.settle"}, "F01"),
        ({"destination": "peer.route.control"}, "F01"),
        ({"condition": bytes(32)}, "F01"),
        ({"expires_at": NOW}, "F00"),
    ],
)
def test_whatever_goes_to_the_peer_is_answered_here(changes: Case, code: str | None) -> None:
    prepare = replace(config_request(NOW), **changes)
    answer = answer_peer(prepare, DETAILS, NOW, OURS)  # DCP-1, DCP-3
    if code is None:
        assert answer is not None
        assert read_config_response(answer) == DETAILS
        assert isinstance(answer, Fulfill)
        assert prepare.is_answered_by(answer.fulfillment)
    else:
        assert isinstance(answer, Reject)
        assert (answer.code, answer.triggered_by) == (code, OURS)


def test_whatever_goes_elsewhere_is_not() -> None:
    assert answer_peer(replace(config_request(NOW), destination="test.peer.config"), DETAILS, NOW, OURS) is None
