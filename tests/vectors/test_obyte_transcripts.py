"""Traffic recorded between a reference wallet, a reference hub and reference channel peers, hashed and verified again.

Everything that carries a hash or a signature is found by its shape, wherever it is. The counts are those of the files
(`"payload_hash":` and the like, counted as text), so that nothing can go unverified unnoticed.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from shared.obyte.addresses import definition_address
from shared.obyte.hashing import ball_hash, base64_hash, device_digest
from shared.obyte.networks import DEVNET
from shared.obyte.serialization import parse_js_json
from shared.obyte.signatures import verify
from shared.obyte.signed_messages import verify_signed_message
from shared.obyte.units import check_joint, check_unit, verify_author_signatures
from tests.vectors.obyte_vectors import FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator

# The private network they were recorded on: three order providers and a genesis of its own.
GENESIS = "592GrtlL9kTJC6IYvbqd8SBt/WXnIU6Pk4qnvz1I9Nw="
NETWORK = dataclasses.replace(DEVNET, order_provider_count=3, genesis_unit=GENESIS)
FUNDER = "Y62VAWOILH6W7VFG2AOFDYGO7CNNI7EA"  # gave the wallet its first money
PACKAGES = 3
LINES = [
    line for path in sorted((FOLDER / "transcripts").glob("*.jsonl")) for line in path.read_text().splitlines() if line
]
RECORDS: list[Any] = [parse_js_json(line) for line in LINES]


def objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for member in value.values():
            yield from objects(member)
    elif isinstance(value, list):
        for element in value:
            yield from objects(element)


OBJECTS = [found for record in RECORDS for found in objects(record)]
UNITS = [found for found in OBJECTS if "headers_commission" in found]


def times_written(text: str) -> int:
    return sum(line.count(text) for line in LINES)


def test_every_unit_passes_every_check() -> None:
    verified: Counter[str] = Counter()
    for unit in UNITS:
        checked = check_unit(unit, NETWORK)
        verified["units"] += 1
        verified["messages"] += len(checked["messages"])
    written = {"units": times_written('"headers_commission":'), "messages": times_written('"payload_hash":')}
    assert verified == written == {"units": 211, "messages": 431}


def test_every_joint_passes_every_check() -> None:
    joints = [found for found in OBJECTS if isinstance(found.get("unit"), dict)]
    for joint in joints:
        check_joint(joint, NETWORK)
    assert len(joints) == times_written('"unit":{') == 211


def test_every_author_signature_holds() -> None:
    authors = [author for unit in UNITS for author in unit["authors"]]
    definitions = {author["address"]: author["definition"] for author in authors if "definition" in author}
    agents = {found["address"] for found in OBJECTS if found.get("definition", ["sig"])[0] == "autonomous agent"}
    verified: Counter[str] = Counter()
    for unit in UNITS:
        address = unit["authors"][0]["address"]
        if address in agents:
            assert unit["authors"][0].keys() == {"address"}
            verified["by an agent"] += 1
        elif address == FUNDER:
            verified["definition in none of the files"] += 1
        else:
            verify_author_signatures(unit, definitions, NETWORK)
            verified["signatures"] += sum(len(author["authentifiers"]) for author in unit["authors"])
    assert verified == {"signatures": 224, "by an agent": 20, "definition in none of the files": 5}
    assert times_written('"authentifiers":') == 224 + 5 + PACKAGES


def test_every_ball_of_a_proof_is_the_hash_of_what_it_rests_on() -> None:
    balls = [found for found in OBJECTS if "parent_balls" in found]
    for found in balls:
        is_nonserial = found.get("is_nonserial", False)
        ball = ball_hash(found["unit"], found["parent_balls"], found.get("skiplist_balls", []), is_nonserial)
        assert ball == found["ball"]
    assert len(balls) == times_written('"parent_balls":') == 133


def test_every_request_tag_is_the_hash_of_the_request() -> None:
    messages = [record["message"] for record in RECORDS if isinstance(record.get("message"), list)]
    requests = [content for kind, content in messages if kind == "request"]
    for request in requests:
        content = {name: value for name, value in request.items() if name != "tag"}
        assert base64_hash(content) == request["tag"]
    assert len(requests) == times_written('["request",') == 56


@pytest.mark.parametrize(
    ("kind", "field", "count"),
    [("logins", "challenge", 2), ("temporary keys", "temp_pubkey", 7), ("messages", "to", 10)],
)
def test_every_device_signature_holds(kind: str, field: str, count: int) -> None:
    signed = [found for found in OBJECTS if {field, "pubkey", "signature"} <= found.keys()]
    for found in signed:
        assert verify(device_digest(found), found["signature"], found["pubkey"]), kind
    assert len(signed) == count


def test_all_device_signatures_are_covered() -> None:
    assert times_written('"signature":') == 2 + 7 + 10


def test_every_device_message_hash_holds() -> None:
    delivered = [found for found in OBJECTS if "message_hash" in found]
    for found in delivered:
        message = found["message"]
        assert found["message_hash"] in {base64_hash(message, typed=True), base64_hash(message)}
    assert len(delivered) == times_written('"message_hash":') == 5


def test_every_signed_package_holds() -> None:
    packages = [found for found in OBJECTS if "signed_message" in found]
    for package in packages:
        message = verify_signed_message(package, NETWORK)
        assert message.signer == definition_address(package["authors"][0]["definition"])
    assert len(packages) == times_written('"signed_message":') == PACKAGES
