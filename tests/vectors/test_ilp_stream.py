from __future__ import annotations

import base64
from dataclasses import fields
from typing import Any

import pytest

from shared.interledger import oer
from shared.interledger.amounts import parse_amount
from shared.interledger.errors import DecodingError, EncodingError, InterledgerError, SealError
from shared.interledger.packets import Fulfill, Prepare, Reject, condition_of, decode_packet, decode_prepare
from shared.interledger.stream import frames as stream_frames
from shared.interledger.stream.crypto import ConnectionKeys, hmac_sha256, seal
from shared.interledger.stream.frames import ConnectionAssetDetails, StreamFrame, StreamReceipt
from shared.interledger.stream.packets import StreamPacket, decode_stream_packet, encode_stream_packet
from shared.interledger.stream.receipts import ReceiptSetup, make_receipt, read_receipt
from shared.interledger.stream.receiver import Offer, StreamReceiver
from shared.interledger.stream.tokens import Asset, Terms, TokenKeys
from tests.vectors.ilp_vectors import Case, cases, is_refused, label

BYTES = {"data", "receipt"}
NUMBERS = {"error_code", "source_asset_scale"}


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def _frame(value: dict[str, Any]) -> StreamFrame:
    cls = getattr(stream_frames, value["name"])

    def read(name: str) -> Any:
        given = value[_camel(name)]
        if name in BYTES:
            return bytes.fromhex(given)
        return parse_amount(given) if isinstance(given, str) and cls.__annotations__[name] == "int" else given

    return cls(*(read(member.name) for member in fields(cls)))  # type: ignore[no-any-return]


def _packet(value: dict[str, Any]) -> StreamPacket:
    frames = tuple(_frame(frame) for frame in value["frames"])
    amount = parse_amount(value["prepareAmount"])
    return StreamPacket(parse_amount(value["sequence"]), value["ilpPacketType"], amount, frames)


@pytest.mark.parametrize("case", cases("stream_packets", "encode"), ids=label)
def test_encoding(case: Case) -> None:
    assert encode_stream_packet(_packet(case["in"])).hex() == case["out"]


@pytest.mark.parametrize("case", cases("stream_packets", "decode"), ids=label)
def test_decoding(case: Case) -> None:
    if is_refused(case):
        with pytest.raises(DecodingError):
            decode_stream_packet(bytes.fromhex(case["in"]))
    else:
        assert decode_stream_packet(bytes.fromhex(case["in"])) == _packet(case["out"])


def _keys(case: Case) -> ConnectionKeys:
    return ConnectionKeys(bytes.fromhex(case["in"]["sharedSecret"]))


def _iv(value: str) -> Any:
    return lambda _length: bytes.fromhex(value)


@pytest.mark.parametrize("case", cases("stream_crypto", "packet_id"), ids=label)
def test_packet_ids(case: Case) -> None:
    assert _keys(case).packet_id(parse_amount(case["in"]["sequence"])).hex() == case["out"]


@pytest.mark.parametrize("case", cases("stream_crypto", "keys"), ids=label)
def test_keys(case: Case) -> None:
    keys = _keys(case)
    assert keys._encryption_key.hex() == case["out"]["encryptionKey"]
    assert keys._fulfillment_key.hex() == case["out"]["fulfillmentKey"]


@pytest.mark.parametrize("case", cases("stream_crypto", "fulfillment"), ids=label)
def test_fulfillments(case: Case) -> None:
    data = bytes.fromhex(case["in"]["data"])
    assert _keys(case).fulfillment(data).hex() == case["out"]["fulfillment"]
    assert _keys(case).condition(data).hex() == case["out"]["condition"]


@pytest.mark.parametrize("case", cases("stream_crypto", "encrypt"), ids=label)
def test_sealing(case: Case) -> None:
    plaintext = bytes.fromhex(case["in"]["plaintext"])
    assert _keys(case).seal(plaintext, _iv(case["in"]["iv"])).hex() == case["out"]


@pytest.mark.parametrize("case", cases("stream_crypto", "decrypt"), ids=label)
def test_opening(case: Case) -> None:
    if is_refused(case):
        with pytest.raises(SealError):
            _keys(case).open(bytes.fromhex(case["in"]["data"]))
    else:
        assert _keys(case).open(bytes.fromhex(case["in"]["data"])).hex() == case["out"]


@pytest.mark.parametrize("case", cases("stream_crypto", "seal"), ids=label)
def test_sealing_a_padded_packet(case: Case) -> None:
    plaintext = encode_stream_packet(_packet(case["in"]["packet"]), case["in"]["padTo"] - 28)
    assert _keys(case).seal(plaintext, _iv(case["in"]["iv"])).hex() == case["out"]


def _receipts(value: dict[str, Any] | None, prefix: str = "") -> ReceiptSetup | None:
    nonce, secret = (f"{prefix}Nonce", f"{prefix}Secret") if prefix else ("nonce", "secret")
    if value is None or not {nonce, secret} & set(value):
        return None
    return ReceiptSetup(bytes.fromhex(value.get(nonce, "")), bytes.fromhex(value.get(secret, "")))


@pytest.mark.parametrize("case", cases("stream_crypto", "receiver.credentials"), ids=label)
def test_addresses_that_carry_their_connection(case: Case) -> None:
    given, ours = case["in"], case["in"]["serverAddress"]
    keys = TokenKeys(bytes.fromhex(given["serverSecret"]))
    asset = Asset(**given["asset"]) if "asset" in given else None
    terms = Terms(given.get("paymentTag"), _receipts(given.get("receiptSetup")), asset)
    credentials = keys.issue(ours, terms, _iv(given["iv"]))
    assert credentials.address == case["out"]["ilpAddress"]
    assert credentials.shared_secret.hex() == case["out"]["sharedSecret"]
    assert keys.read(ours, credentials.address) == (terms, credentials.shared_secret)
    assert terms.tag == case["out"].get("decodedPaymentTag")


@pytest.mark.parametrize("case", cases("stream_crypto", "server.address"), ids=label)
def test_the_other_layout_is_made_of_the_same_parts(case: Case) -> None:
    """What ilp-protocol-stream's own server puts into addresses. We issue none, but they are made of the same parts."""
    given = case["in"]
    if is_refused(case):
        with pytest.raises(EncodingError):
            _receipts(given, "receipt")
        return
    secret = bytes.fromhex(given["serverSecret"])
    plaintext = bytes.fromhex(given["tokenNonce"]) + b"".join(
        oer.var_octets(part, "part")
        for part in (
            given.get("connectionTag", "").encode(),
            bytes.fromhex(given.get("receiptNonce", "")),
            bytes.fromhex(given.get("receiptSecret", "")),
        )
    )
    token = seal(secret, plaintext, _iv(given["iv"]))
    text = base64.urlsafe_b64encode(token).rstrip(b"=").decode()
    assert f"{given['serverAddress']}.{text}" == case["out"]["destinationAccount"]
    shared = hmac_sha256(hmac_sha256(secret, b"ilp_stream_shared_secret"), token)
    assert shared.hex() == case["out"]["sharedSecret"]


@pytest.mark.parametrize("case", cases("stream_receipts", "receipt.create"), ids=label)
def test_making_receipts(case: Case) -> None:
    def make() -> bytes:
        setup = _receipts(case["in"])
        assert setup is not None
        return make_receipt(setup, case["in"]["streamId"], parse_amount(case["in"]["totalReceived"]))

    if is_refused(case):
        with pytest.raises(EncodingError):
            make()
    else:
        assert make().hex() == case["out"]


@pytest.mark.parametrize("case", cases("stream_receipts", "receipt.verify"), ids=label)
def test_reading_receipts(case: Case) -> None:
    octets, secret = bytes.fromhex(case["in"]["receipt"]), bytes.fromhex(case["in"]["secret"])
    if is_refused(case):
        with pytest.raises(InterledgerError):
            read_receipt(octets, secret)
        return
    receipt = read_receipt(octets, secret)
    assert {
        "version": 1,
        "nonce": receipt.nonce.hex(),
        "streamId": str(receipt.stream_id),
        "totalReceived": str(receipt.total_received),
    } == case["out"]


def _decide(answer: Fulfill | Reject | Offer, step: dict[str, Any], total: int) -> Fulfill | Reject:
    if not isinstance(answer, Offer):
        return answer
    match step.get("decline"):
        case "temporary":
            return answer.busy()
        case "final":
            return answer.decline()
        case _:
            return answer.accept(total)


@pytest.mark.parametrize("case", cases("stream_receiver", "stateless.reply"), ids=label)
def test_what_a_stateless_receiver_answers(case: Case) -> None:
    given = case["in"]
    keys = ConnectionKeys(bytes.fromhex(given["sharedSecret"]))
    secret = bytes.fromhex(given["serverSecret"])
    receiver = StreamReceiver(secret, given["serverAddress"], random_bytes=bytes)
    total = 0
    for step, expected in zip(given["steps"], case["out"], strict=True):
        prepare = decode_prepare(bytes.fromhex(step["prepare"]))
        total += prepare.amount
        answer = _decide(receiver.receive(prepare), step, total)
        if isinstance(answer, Fulfill):
            assert (13, answer.fulfillment.hex()) == (expected["type"], expected["fulfillment"])
            assert prepare.is_answered_by(answer.fulfillment)
        else:
            found = {"type": 14, "code": answer.code, "triggeredBy": answer.triggered_by, "message": answer.message}
            assert found == {key: value for key, value in expected.items() if key != "stream"}
        if expected["stream"] is None:
            assert answer.data == b""
        else:
            assert decode_stream_packet(keys.open(answer.data)) == _packet(expected["stream"])


@pytest.mark.parametrize("case", cases("stream_receiver", "server.reply"), ids=label)
def test_what_senders_put_into_prepares_and_are_paid_out_for(case: Case) -> None:
    """The stateful receiver answers more than ours; what comes to it is read, sealed and fulfilled alike."""
    keys = ConnectionKeys(bytes.fromhex(case["in"]["sharedSecret"]))
    for step, expected in zip(case["in"]["steps"], case["out"], strict=True):
        prepare = decode_packet(bytes.fromhex(step["prepare"]))
        assert isinstance(prepare, Prepare)
        assert str(prepare.amount) == step["amount"]
        if step["stream"] is not None and "token of another" not in case["name"]:
            assert decode_stream_packet(keys.open(prepare.data)) == _packet(step["stream"])
        if expected["type"] == 13:
            assert keys.fulfillment(prepare.data).hex() == expected["fulfillment"]
            assert condition_of(keys.fulfillment(prepare.data)) == prepare.condition
        for frame in (expected["stream"] or {"frames": []})["frames"]:
            if frame["name"] == "StreamReceipt":
                read_receipt(bytes.fromhex(frame["receipt"]), bytes.fromhex(case["in"]["receipts"]["secret"]))


def test_the_vectors_reach_every_frame() -> None:
    reached = {frame["name"] for case in cases("stream_packets", "encode") for frame in case["in"]["frames"]}
    assert {cls.__name__ for cls in stream_frames._TYPES} == reached
    assert {ConnectionAssetDetails.__name__, StreamReceipt.__name__} <= reached
