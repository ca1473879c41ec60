from __future__ import annotations

from typing import Any

import pytest

from shared.interledger.addresses import is_address
from shared.interledger.amounts import parse_amount
from shared.interledger.errors import DecodingError, EncodingError, InterledgerError
from shared.interledger.packets import Fulfill, Packet, Prepare, Reject, decode_packet, encode_packet
from tests.vectors.ilp_vectors import Case, cases, is_refused, iso, label, moment

# A number is what amounts are here; JavaScript wants text, for its numbers are doubles.
ABOUT_JAVASCRIPT = {"encode prepare, amount as number"}
ENCODE = [case for case in cases("ilp_packets", "encode") if case["name"] not in ABOUT_JAVASCRIPT]


def _packet(value: dict[str, Any]) -> Packet:
    data = bytes.fromhex(value["data"])
    match value["type"]:
        case 12:
            condition = bytes.fromhex(value["executionCondition"])
            amount, expires_at = parse_amount(value["amount"]), moment(value["expiresAt"])
            return Prepare(amount, expires_at, condition, value["destination"], data)
        case 13:
            return Fulfill(bytes.fromhex(value["fulfillment"]), data)
        case _:
            return Reject(value["code"], value["triggeredBy"], value["message"], data)


def _value(packet: Packet) -> dict[str, Any]:
    match packet:
        case Prepare():
            return {
                "type": 12,
                "amount": str(packet.amount),
                "executionCondition": packet.condition.hex(),
                "expiresAt": iso(packet.expires_at),
                "destination": packet.destination,
                "data": packet.data.hex(),
            }
        case Fulfill():
            return {"type": 13, "fulfillment": packet.fulfillment.hex(), "data": packet.data.hex()}
        case Reject():
            texts = {"code": packet.code, "triggeredBy": packet.triggered_by, "message": packet.message}
            return {"type": 14, **texts, "data": packet.data.hex()}


@pytest.mark.parametrize("case", ENCODE, ids=label)
def test_encoding(case: Case) -> None:
    if is_refused(case):
        with pytest.raises(InterledgerError):
            encode_packet(_packet(case["in"]))
    else:
        assert encode_packet(_packet(case["in"])).hex() == case["out"]


@pytest.mark.parametrize("case", cases("ilp_packets", "decode"), ids=label)
def test_decoding(case: Case) -> None:
    if is_refused(case):
        with pytest.raises(DecodingError):
            decode_packet(bytes.fromhex(case["in"]))
    else:
        assert _value(decode_packet(bytes.fromhex(case["in"]))) == case["out"]


@pytest.mark.parametrize("case", cases("ilp_addresses"), ids=label)
def test_addresses(case: Case) -> None:
    assert is_address(case["in"]) == case["out"]


def test_amounts_are_never_text_or_true_or_floating() -> None:
    prepare = _packet(ENCODE[0]["in"])
    assert isinstance(prepare, Prepare)
    for amount in ("5", True, 5.0, -1, 2**64):
        broken = Prepare(amount, prepare.expires_at, prepare.condition, prepare.destination)  # type: ignore[arg-type]
        with pytest.raises(EncodingError) as refused:
            encode_packet(broken)
        assert (refused.value.code, refused.value.field) == ("bad_value", "amount")
