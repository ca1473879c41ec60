from __future__ import annotations

from typing import Any

import pytest

from shared.interledger.amounts import parse_amount
from shared.interledger.btp.addresses import BtpAddressError, parse_btp_address
from shared.interledger.btp.frames import (
    ERROR,
    MESSAGE,
    TRANSFER,
    Entries,
    Entry,
    Error,
    Frame,
    Message,
    Response,
    Transfer,
    decode_frame,
    encode_frame,
)
from shared.interledger.btp.login import Login, login_entries
from shared.interledger.btp.subprotocols import CUSTOM, ILP, Value, entries_for, values_of
from shared.interledger.errors import DecodingError, InterledgerError
from tests.vectors.ilp_vectors import Case, cases, is_refused, iso, label, moment

DECODE = [*cases("btp_frames", "decode"), *cases("btp_malformed", "decode")]
ENCODE = [*cases("btp_frames", "encode"), *cases("btp_malformed", "encode"), *cases("paychan_claims", "frame")]

# Where the rules ask for more, or for less, than the reference does; what it reads is then no measure.
NON_ASCII_NAME = "name is not ascii (high bits dropped)"
NO_MILLISECONDS = "error, timestamp without milliseconds gives an invalid date, not an exception"


def _entries(value: list[dict[str, Any]]) -> Entries:
    # What is no hex stands for a value of another type.
    return tuple(
        Entry(
            entry["name"],
            entry["contentType"],
            bytes.fromhex(entry["data"]) if isinstance(entry["data"], str) else entry["data"],
        )
        for entry in value
    )


def frame_of(value: dict[str, Any]) -> Frame:
    request_id, entries = value["requestId"], value["protocolData"]
    if entries is None:
        raise DecodingError("bad_value", "entries", "should be a list")  # Python's types leave no way to say this
    match value["type"]:
        case 1:
            return Response(request_id, _entries(entries))
        case 6:
            return Message(request_id, _entries(entries))
        case 7:
            return Transfer(request_id, parse_amount(value["amount"]), _entries(entries))
        case 2:
            at = moment(value["triggeredAt"])
            return Error(request_id, value["code"], value["name"], at, value["data"], _entries(entries))
        case _:
            return value["type"]  # type: ignore[no-any-return]


def value_of(frame: Frame) -> dict[str, Any]:
    entries = [{"name": e.name, "contentType": e.content_type, "data": e.data.hex()} for e in frame.entries]
    both = {"requestId": frame.request_id, "protocolData": entries}
    match frame:
        case Response():
            return {"type": 1, **both}
        case Message():
            return {"type": MESSAGE, **both}
        case Transfer():
            return {"type": TRANSFER, **both, "amount": str(frame.amount)}
        case Error():
            texts = {"code": frame.code, "name": frame.name, "data": frame.data}
            return {"type": ERROR, **both, **texts, "triggeredAt": iso(frame.triggered_at)}


@pytest.mark.parametrize("case", ENCODE, ids=label)
def test_encoding(case: Case) -> None:
    if is_refused(case):
        with pytest.raises(InterledgerError):
            encode_frame(frame_of(case["in"]))
    else:
        assert encode_frame(frame_of(case["in"])).hex() == case["out"]


@pytest.mark.parametrize("case", DECODE, ids=label)
def test_decoding(case: Case) -> None:
    octets = bytes.fromhex(case["in"])
    if is_refused(case) or case["name"] == NON_ASCII_NAME:  # OER-2
        with pytest.raises(DecodingError):
            decode_frame(octets)
        return
    expected = {key: value for key, value in case["out"].items() if key != "typeName"}
    if case["name"] == NO_MILLISECONDS:  # RFC-0030 drops the fraction when it is zero
        expected["triggeredAt"] = "2017-12-24T16:14:32.000Z"
    assert value_of(decode_frame(octets)) == expected


def _read(value: Any) -> Value:
    return bytes.fromhex(value["bytes"]) if isinstance(value, dict) and set(value) == {"bytes"} else value


def _written(value: Value) -> Any:
    return {"bytes": value.hex()} if isinstance(value, bytes) else value


@pytest.mark.parametrize("case", cases("btp_subprotocols", "from_protocol_data"), ids=label)
def test_what_entries_mean(case: Case) -> None:
    if is_refused(case):
        with pytest.raises(DecodingError):
            values_of(_entries(case["in"]))
        return
    values = {name: _written(value) for name, value in values_of(_entries(case["in"])).items()}
    named = {name: values[name] for name in (ILP, CUSTOM) if name in values}
    assert {**named, "protocolMap": values} == case["out"]


@pytest.mark.parametrize("case", cases("btp_subprotocols", "to_protocol_data"), ids=label)
def test_entries_for_what_is_meant(case: Case) -> None:
    given = case["in"]
    ilp = _read(given["ilp"]) if "ilp" in given else None
    values = {name: _read(value) for name, value in given.get("protocolMap", {}).items()}
    assert ilp is None or isinstance(ilp, bytes)
    assert entries_for(ilp=ilp, values=values, custom=given.get("custom")) == _entries(case["out"])


@pytest.mark.parametrize("case", cases("mini_accounts", "account"), ids=label)
def test_the_account_of_a_token(case: Case) -> None:
    assert Login(case["in"].encode()).account_of_token == case["out"]


@pytest.mark.parametrize("case", cases("btp_rpc", "client"), ids=label)
def test_a_client_begins_as_the_reference_does(case: Case) -> None:
    address = parse_btp_address(f"btp+ws://{case['in'].get('userinfo', '')}localhost:1")
    flags = case["in"].get("extra", {}).get("btpAuthFlags")
    entries = login_entries(address.username or "", address.token or "", flags)
    assert value_of(Message(0, entries))["protocolData"] == case["out"]["firstFrame"]["protocolData"]


@pytest.mark.parametrize("case", [case for case in cases("btp_rpc", "constructor") if case["in"]], ids=label)
def test_addresses_of_servers(case: Case) -> None:
    server = case["in"].get("server")
    if is_refused(case):
        with pytest.raises(BtpAddressError):
            parse_btp_address(server, token=case["in"].get("btpToken"))
    elif server is not None:
        assert parse_btp_address(server).url == "ws://localhost:1"
