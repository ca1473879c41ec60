from __future__ import annotations

from typing import Any

import pytest

from shared.moneysocket.beacons import Beacon, WebSocketLocation, decode_beacon
from shared.moneysocket.bech32 import decode_bech32
from shared.moneysocket.errors import MoneysocketError
from shared.moneysocket.seeds import SharedSeed
from shared.moneysocket.tlv import Tlv
from shared.moneysocket.v1.beacons import BeaconV1, Place, Role, WebSocketPlace, decode_beacon_v1
from shared.moneysocket.v1.messages import MessageV1, decode_message_v1, transport_ping, transport_pong
from shared.moneysocket.v1.provider_info import read_provider_info_v1
from shared.moneysocket.v1.version import Version
from shared.moneysocket.v1.wads import read_wad_v1
from tests.vectors.moneysocket_vectors import Case, cases, label

NOW = 1_800_000_000


def place(case: Case) -> Place:
    if case["location_type"] == "Unknown":
        return Tlv(case["tlv_type"], bytes.fromhex(case["bytes"]))
    return WebSocketPlace(case["hostname"], case["port"], case["use_tls"], case["path"], case["generator_preference"])


def records(listed: list[Case]) -> tuple[Tlv, ...]:
    return tuple(Tlv(item["t"], bytes.fromhex(item["v"])) for item in listed)


def beacon(case: Case) -> BeaconV1:
    return BeaconV1(
        seed=SharedSeed.from_hex(case["shared_seed"]),
        locations=tuple(map(place, case["locations"])),
        role=None if case["role_hint"] is None else Role[case["role_hint"]],
        version=Version(**case["generator_version"]),
        prefix=case["hrp"],
        unknown=records(case["unknown_tlvs"]),
    )


@pytest.mark.parametrize("case", cases("beacons-v1-draft", "encode"), ids=label)
def test_a_beacon_is_written(case: Case) -> None:
    made = beacon(case["beacon"])
    assert made.encode() == case["bech32"]
    assert decode_bech32(case["bech32"])[1].hex() == case["tlv_hex"]
    assert decode_beacon_v1(case["bech32"]) == beacon(case["decoded"])


@pytest.mark.parametrize("case", cases("beacons-v1-draft", "decode"), ids=label)
def test_a_beacon_is_read(case: Case) -> None:
    if case["py"] != "accept":
        with pytest.raises(MoneysocketError):
            decode_beacon_v1(case["input"])
        return
    read = decode_beacon_v1(case["input"])
    assert read == beacon(case["beacon"])
    assert read.encode() == case["reencoded"]


def test_the_two_versions_refuse_each_others_beacons() -> None:
    seed = SharedSeed(bytes(16))
    with pytest.raises(MoneysocketError):
        decode_beacon_v1(Beacon(seed, (WebSocketLocation("a.example"),)).encode())
    with pytest.raises(MoneysocketError):
        decode_beacon(BeaconV1(seed, (WebSocketPlace("a.example"),)).encode())


def as_listed(message: MessageV1) -> dict[str, Any]:
    kind, subtype = message.type_numbers
    version = message.version
    return {
        "type": kind,
        "subtype": subtype,
        "language_object": message.language_object,
        "sender_version": {"major": version.major, "minor": version.minor, "patch": version.patch},
        "additional_tlvs": [
            {"t": record.type, "l": len(record.value), "v": record.value.hex()} for record in message.additional
        ],
    }


@pytest.mark.parametrize("case", cases("messages-v1-draft", "encode"), ids=label)
def test_a_message_is_written(case: Case) -> None:
    listed = case["decoded"]
    message = MessageV1(
        case["language_object"], Version(**listed["sender_version"]), records(listed["additional_tlvs"])
    )
    assert message.encode().hex() == case["hex"]
    assert as_listed(decode_message_v1(bytes.fromhex(case["hex"]), NOW)) == listed


@pytest.mark.parametrize("case", cases("messages-v1-draft", "decode"), ids=label)
def test_a_message_is_read(case: Case) -> None:
    data = bytes.fromhex(case["hex"])
    if case["py"] != "accept":
        with pytest.raises(MoneysocketError):
            decode_message_v1(data, NOW)
        return
    read = decode_message_v1(data, NOW)
    assert read.is_ping == (case["class"] == "TransportPing")
    assert as_listed(read) == case["message"]
    assert read.encode().hex() == case["reencoded_hex"]


def test_a_ping_is_answered_by_a_pong_with_its_uuid() -> None:
    ping = decode_message_v1(transport_ping("a5b32936-3143-4856-bdea-7b3dda7aa5e8", NOW).encode(), NOW)
    pong = decode_message_v1(transport_pong(ping, NOW + 1).encode(), NOW)
    assert (ping.is_ping, pong.is_ping) == (True, False)
    assert pong.language_object["request_uuid"] == ping.language_object["request_uuid"]


@pytest.mark.parametrize("case", cases("provider-info-wad-v1-draft", "wad"), ids=label)
def test_an_amount_is_read(case: Case) -> None:
    if case["py"] != "accept":
        with pytest.raises(MoneysocketError):
            read_wad_v1(case["input"])
        return
    wad = read_wad_v1(case["input"])
    assert (wad.to_json(), str(wad)) == (case["wad"], case["string"])


@pytest.mark.parametrize("case", cases("provider-info-wad-v1-draft", "provider_info"), ids=label)
def test_provider_info_is_read(case: Case) -> None:
    if case["py"] != "accept":
        with pytest.raises(MoneysocketError):
            read_provider_info_v1(case["input"])
        return
    assert read_provider_info_v1(case["input"]).to_json() == case["provider_info"]
