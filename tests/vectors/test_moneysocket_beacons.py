from __future__ import annotations

import pytest

from shared.moneysocket.beacons import Beacon, Location, OtherLocation, WebSocketLocation, decode_beacon
from shared.moneysocket.bech32 import decode_bech32
from shared.moneysocket.bigsize import encode_bigsize, read_bigsize
from shared.moneysocket.errors import MoneysocketError
from shared.moneysocket.seeds import SharedSeed
from shared.moneysocket.tlv import read_tlv
from tests.vectors.moneysocket_vectors import Case, cases, label


def location(case: Case) -> Location:
    if case["type"] == "WebSocket":
        return WebSocketLocation(case["host"], case["port"] or 0, use_tls=case["use_tls"])
    return OtherLocation(case["type"], case["placeholder_string"])


def beacon(case: Case) -> Beacon:
    return Beacon(SharedSeed.from_hex(case["shared_seed"]), tuple(map(location, case["locations"])))


@pytest.mark.parametrize("case", cases("bigsize-tlv", "bigsize_encode"), ids=label)
def test_bigsize_is_written(case: Case) -> None:
    assert encode_bigsize(int(case["value"])).hex() == case["hex"]


@pytest.mark.parametrize("case", cases("bigsize-tlv", "bigsize_decode"), ids=label)
def test_bigsize_is_read(case: Case) -> None:
    data = bytes.fromhex(case["hex"])
    if case["py"] != "accept":
        with pytest.raises(MoneysocketError):
            read_bigsize(data)
        return
    value, end = read_bigsize(data)
    assert (str(value), data[end:].hex()) == (case["value"], case["rest"])


@pytest.mark.parametrize("case", cases("bigsize-tlv", "tlv_pop"), ids=label)
def test_a_record_is_read(case: Case) -> None:
    data = bytes.fromhex(case["hex"])
    if case["py"] != "accept":
        with pytest.raises(MoneysocketError):
            read_tlv(data)
        return
    record, end = read_tlv(data)
    assert (str(record.type), record.value.hex(), data[end:].hex()) == (case["type"], case["value_hex"], case["rest"])
    assert record.encode() == data[:end]


@pytest.mark.parametrize("case", cases("derivation"), ids=lambda case: f"{case['protocol']} {case['shared_seed']}")
def test_key_and_rendezvous_id_follow_from_the_seed(case: Case) -> None:
    seed = SharedSeed.from_hex(case["shared_seed"])
    derived = {"v0": (seed.frame_key, seed.rendezvous_id), "v1-draft": (seed.frame_key_v1, seed.rendezvous_id_v1)}
    assert derived[case["protocol"]] == (bytes.fromhex(case["aes256_key"]), case["rendezvous_id"])


@pytest.mark.parametrize("case", cases("beacons-v0", "encode"), ids=label)
def test_a_beacon_is_written_as_both_libraries_write_it(case: Case) -> None:
    text = beacon(case).encode()
    assert text == case["bech32"]
    assert decode_bech32(text)[1].hex() == case["tlv_hex"]


@pytest.mark.parametrize("case", cases("beacons-v0", "decode"), ids=label)
def test_a_beacon_is_read_as_the_python_library_reads_it(case: Case) -> None:
    if case["py"] != "accept":
        with pytest.raises(MoneysocketError):
            decode_beacon(case["input"])
        return
    read = decode_beacon(case["input"])
    assert read == beacon(case["py_beacon"])
    assert read.encode() == case["py_reencoded"]


def test_we_take_every_beacon_that_both_libraries_take_and_refuse_what_both_refuse() -> None:
    for case in cases("beacons-v0", "decode"):
        if case["py"] == case["js"] == "accept":
            decode_beacon(case["input"])
        elif "accept" not in (case["py"], case["js"]):
            with pytest.raises(MoneysocketError):
                decode_beacon(case["input"])
