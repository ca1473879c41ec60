"""Every kind of bad input gets an answer within the contract and changes nothing."""

from __future__ import annotations

import asyncio
import base64
import copy
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from shared.channels.model import Status
from shared.obyte.hashing import digest_of
from shared.obyte.networks import DEVNET, LIVENET, TESTNET
from shared.obyte.signed_messages import sign_message
from shared.settings import Settings
from tests.integration.front.conftest import running_front
from tests.receiving_support import OWN, Payer, all_rows, database_of, payer_key
from tests.receiving_support import worker as worker_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from tests.integration.front.conftest import Front

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
STRANGER = payer_key(99)
PAYER = Payer()
CLOSING = Payer(payer_key(2))
CLOSED_BY_ME = Payer(payer_key(3))
UNKNOWN = Payer(payer_key(4))
SPENT = 1000
CREDIT = 100
DEPOSIT = 50_000


@pytest.fixture(scope="module")
def database_url(postgres_url: str, _template: str) -> Iterator[str]:
    """One database for all of them: whichever test finds it changed says so."""
    with database_of(postgres_url, _template, "test_bad_input") as url:
        asyncio.run(_seed(url))
        yield url


async def _seed(url: str) -> None:
    async with worker_of(url) as worker:
        await worker.open(PAYER, deposit=DEPOSIT, spent_by_peer=SPENT, credit=CREDIT, claim="x")
        await worker.open(CLOSING, status=Status.CLOSING_BY_PEER, close_started_at_s=1, claimed_by_peer=0)
        await worker.open(CLOSED_BY_ME, period_closed_by_me=1)


@pytest.fixture
async def front(database_url: str) -> AsyncIterator[Front]:
    async with running_front(Settings(database_url=database_url, funding_wait_s=0.3)) as running:
        yield running


@dataclass(frozen=True)
class Bad:
    """A bad body and the answer it must get. `body`: bytes as they are, anything else as JSON."""

    body: Any
    code: str
    status: int = 200
    error: str | None = None


def pay(package: Any, **params: Any) -> dict[str, Any]:
    return {"command": "pay", "params": {"signed_package": package, **params}}


def good() -> dict[str, Any]:
    return PAYER.package(SPENT + 100, 100)


def changed(**members: Any) -> dict[str, Any]:
    return {**good(), **members}


def author(**members: Any) -> dict[str, Any]:
    package = good()
    return {**package, "authors": [{**package["authors"][0], **members}]}


def signature(change: Callable[[bytes], bytes]) -> dict[str, Any]:
    raw = base64.b64decode(good()["authors"][0]["authentifiers"]["r"])
    return author(authentifiers={"r": base64.b64encode(change(raw)).decode()})


def signed_with_timestamp() -> dict[str, Any]:
    package = good()
    unsigned = copy.deepcopy(package)
    unsigned["timestamp"] = 1700000000
    del unsigned["authors"][0]["authentifiers"]
    return {
        **package,
        "timestamp": 1700000000,
        "authors": [{**unsigned["authors"][0], "authentifiers": {"r": PAYER.key.sign(digest_of(unsigned))}}],
    }


def high_s(raw: bytes) -> bytes:
    return raw[:32] + (ORDER - int.from_bytes(raw[32:])).to_bytes(32)


def raw_pay(amount: str) -> bytes:
    """A body whose payment_amount is this text."""
    text = json.dumps(pay(good()))
    marked = text.replace('"payment_amount": 100', '"payment_amount": ' + amount)
    assert marked != text
    return marked.encode()


def raw_message(text: str) -> bytes:
    """A body whose message is this JSON text."""
    return json.dumps(pay(good(), message="MESSAGE")).replace('"MESSAGE"', text).encode()


def introduced(**changes: Any) -> dict[str, Any]:
    parameters = {**UNKNOWN.parameters, **changes}
    return UNKNOWN.package(10, 10, channel_parameters={k: v for k, v in parameters.items() if v is not ...})


def with_parameters(parameters: Any) -> dict[str, Any]:
    """A package whose parameters were replaced after signing: the shape is judged first."""
    package = UNKNOWN.package(10, 10)
    return {**package, "signed_message": {**package["signed_message"], "channel_parameters": parameters}}


def create(**changes: Any) -> dict[str, Any]:
    parameters = {**UNKNOWN.parameters, **changes}
    return {"command": "create_channel", "params": {k: v for k, v in parameters.items() if v is not ...}}


UNCOMPRESSED = base64.b64encode(PAYER.key._parsed.public_key.format(compressed=False)).decode()
OFF_CURVE = base64.b64encode(b"\x02" + b"\xff" * 32).decode()
OTHER_SALT = Payer(payer_key(4), salt="other")
AMOUNT_TEXT = "payment_amount should be a positive integer"
SPENT_TEXT = "amount_spent should be a positive integer"
NO_PARAMS = "No params"

NOT_A_COMMAND = {
    "empty body": Bad(b"", "not_json", 400),
    "not JSON": Bad(b"hello", "not_json", 400),
    "form data": Bad(b"command=pay&params=1", "not_json", 400),
    "not UTF-8": Bad(b'{"command":"\xff"}', "not_utf8", 400),
    "a list": Bad([pay(good())], "not_an_object", 400),
    "a string": Bad("pay", "not_an_object", 400),
    "null": Bad(None, "not_an_object", 400),
    "no command": Bad({"params": {}}, "unknown_command", 400),
    "unknown command": Bad({"command": "drain", "params": {}}, "unknown_command", 400),
    "null command": Bad({"command": None, "params": {}}, "unknown_command", 400),
    "command of another type": Bad({"command": ["pay"], "params": {}}, "unknown_command", 400),
    "body over 64 KiB": Bad(raw_message('"' + "x" * 65_536 + '"'), "body_too_large", 413),
    "deep nesting": Bad(raw_message("[" * 40 + "]" * 40), "nested_too_deep", 400),
    "very deep nesting": Bad(b"[" * 60_000, "nested_too_deep", 400),
    "duplicate keys": Bad(raw_message('{"a":1,"a":2}'), "duplicate_key", 400),
    "duplicate command": Bad(b'{"command":"pay","command":"is_ready","params":{}}', "duplicate_key", 400),
    "NaN": Bad(raw_message("NaN"), "not_finite", 400),
    "NaN as amount": Bad(raw_pay("NaN"), "not_finite", 400),
    "Infinity": Bad(raw_message("-Infinity"), "not_finite", 400),
    "number beyond a double": Bad(raw_message("1e999"), "not_finite", 400),
    "integer beyond 2^53": Bad(raw_pay(str(2**53)), "integer_too_large", 400),
    "integer of thousands of digits": Bad(raw_pay("9" * 5000), "integer_too_large", 400),
    "lone surrogate in the message": Bad(raw_message('"\\ud800"'), "lone_surrogate", 400),
    "lone surrogate in a key": Bad(raw_message('{"\\udfff":1}'), "lone_surrogate", 400),
    "NUL in the message": Bad(raw_message('"a\\u0000b"'), "nul_character", 400),
    "NUL in a key": Bad(raw_message('{"\\u0000":1}'), "nul_character", 400),
    "raw NUL": Bad(raw_message('"\x00"'), "not_json", 400),
}

BAD_ENVELOPES = {
    "null params of pay": Bad({"command": "pay", "params": None}, "no_params", error=NO_PARAMS),
    "null params of is_ready": Bad({"command": "is_ready", "params": None}, "no_params", error=NO_PARAMS),
    "null params of create_channel": Bad({"command": "create_channel", "params": None}, "no_params", error=NO_PARAMS),
    "no params": Bad({"command": "pay"}, "no_params", error=NO_PARAMS),
    "params of another type": Bad({"command": "pay", "params": [1]}, "no_params", error=NO_PARAMS),
    "unknown field beside the command": Bad({**pay(good()), "extra": 1}, "unknown_field"),
    "unknown parameter of pay": Bad(pay(good(), extra=1), "unknown_field"),
    "unknown parameter of is_ready": Bad(
        {"command": "is_ready", "params": {"aa_address": PAYER.channel, "x": 1}}, "unknown_field"
    ),
    "unknown parameter of create_channel": Bad(create(extra=1), "unknown_field"),
    "stale timestamp": Bad(
        {**pay(good()), "timestamp": int(time.time() * 1000) - 60_000},
        "timestamp_too_old",
        error="Timestamp too old, check system time",
    ),
    "timestamp in seconds": Bad({**pay(good()), "timestamp": int(time.time())}, "timestamp_too_old"),
    "timestamp of another type": Bad({**pay(good()), "timestamp": "now"}, "invalid_timestamp"),
    "boolean timestamp": Bad({**pay(good()), "timestamp": True}, "invalid_timestamp"),
    "no package": Bad({"command": "pay", "params": {}}, "no_signed_package", error="No signed_package"),
    "null package": Bad(pay(None), "no_signed_package", error="No signed_package"),
    "is_ready without address": Bad(
        {"command": "is_ready", "params": {}}, "invalid_aa_address", error="Invalid aa address"
    ),
    "is_ready with an address of another type": Bad(
        {"command": "is_ready", "params": {"aa_address": {}}}, "invalid_aa_address"
    ),
    "is_ready of an unknown channel": Bad(
        {"command": "is_ready", "params": {"aa_address": UNKNOWN.channel}},
        "unknown_channel",
        error="aa address not known",
    ),
}

BAD_PACKAGES = {
    "package of another type": Bad(pay("package"), "not_an_object"),
    "empty package": Bad(pay({}), "missing_field"),
    "null signed_message": Bad(pay(changed(signed_message=None)), "not_an_object"),
    "null author": Bad(pay(changed(authors=[None])), "not_an_object"),
    "zero amount": Bad(pay(PAYER.package(SPENT, 0)), "invalid_amount", error=AMOUNT_TEXT),
    "negative amount": Bad(pay(PAYER.package(SPENT, -5)), "invalid_amount", error=AMOUNT_TEXT),
    "float amount": Bad(pay(PAYER.package(SPENT + 2, 1.5)), "invalid_amount", error=AMOUNT_TEXT),
    "integral float amount": Bad(raw_pay("100.0"), "invalid_amount", error=AMOUNT_TEXT),
    "exponent amount": Bad(raw_pay("1e2"), "invalid_amount", error=AMOUNT_TEXT),
    "numeric string amount": Bad(pay(PAYER.package(SPENT + 100, "100")), "invalid_amount", error=AMOUNT_TEXT),
    "boolean amount": Bad(pay(PAYER.package(SPENT + 1, True)), "invalid_amount", error=AMOUNT_TEXT),
    "null amount": Bad(
        pay(changed(signed_message={**good()["signed_message"], "payment_amount": None})), "invalid_amount"
    ),
    "amount beyond 9e15": Bad(pay(PAYER.package(SPENT, 9_000_000_000_000_001)), "invalid_amount", error=AMOUNT_TEXT),
    "zero spent": Bad(pay(PAYER.package(0, 5)), "invalid_amount", error=SPENT_TEXT),
    "negative spent": Bad(pay(PAYER.package(-5, 5)), "invalid_amount", error=SPENT_TEXT),
    "float spent": Bad(pay(PAYER.package(1100.5, 5)), "invalid_amount", error=SPENT_TEXT),
    "numeric string spent": Bad(pay(PAYER.package("1100", 5)), "invalid_amount", error=SPENT_TEXT),
    "spent beyond 9e15": Bad(pay(PAYER.package(9_000_000_000_000_001, 5)), "invalid_amount", error=SPENT_TEXT),
    "numeric string period": Bad(pay(PAYER.package(SPENT + 100, 100, period="1")), "invalid_period"),
    "zero period": Bad(pay(PAYER.package(SPENT + 100, 100, period=0)), "invalid_period"),
    "lone surrogate in the package": Bad(
        json.dumps(pay(good())).replace(PAYER.channel, "\\ud800").encode(), "lone_surrogate", 400
    ),
    "NUL in the package": Bad(json.dumps(pay(good())).replace(PAYER.channel, "\\u0000").encode(), "nul_character", 400),
    "invalid address": Bad(
        pay(PAYER.package(SPENT + 100, 100, aa_address="A" * 32)), "invalid_aa_address", error="Invalid aa address"
    ),
    "non-canonical base64 signature": Bad(
        pay(author(authentifiers={"r": good()["authors"][0]["authentifiers"]["r"] + "\n"})), "invalid_signature"
    ),
    "signature in the URL alphabet": Bad(pay(author(authentifiers={"r": "-_" * 43 + "=="})), "invalid_signature"),
    "non-canonical base64 key": Bad(
        pay(author(definition=["sig", {"pubkey": PAYER.key.pubkey_b64[:-1] + "="}])), "invalid_pubkey"
    ),
    "65-byte key": Bad(pay(author(definition=["sig", {"pubkey": UNCOMPRESSED}])), "invalid_pubkey"),
    "key off the curve": Bad(pay(author(definition=["sig", {"pubkey": OFF_CURVE}])), "invalid_pubkey"),
    "high-S signature": Bad(pay(signature(high_s)), "bad_signature"),
    "short signature": Bad(pay(signature(lambda raw: raw[:63])), "invalid_signature"),
    "long signature": Bad(pay(signature(lambda raw: raw + b"\0")), "invalid_signature"),
    "signature of zeros": Bad(pay(signature(lambda _: bytes(64))), "bad_signature"),
    "changed after signing": Bad(
        pay(changed(signed_message={**good()["signed_message"], "payment_amount": 99})), "bad_signature"
    ),
    "signed by another key": Bad(pay(author(authentifiers={"r": STRANGER.sign(bytes(32))})), "bad_signature"),
    "wrong signer": Bad(
        pay(sign_message(good()["signed_message"], STRANGER, DEVNET)),
        "wrong_signer",
        error=f"package signed by wrong address expected : {PAYER.address}",
    ),
    "signed by ourselves": Bad(pay(sign_message(good()["signed_message"], OWN, DEVNET)), "wrong_signer"),
    "definition of another key": Bad(pay(author(definition=STRANGER.definition)), "wrong_definition"),
    "two of three keys": Bad(
        pay(author(definition=["r of set", {"required": 1, "set": [PAYER.key.definition]}])), "unsupported_definition"
    ),
    "version of livenet": Bad(pay(sign_message(good()["signed_message"], PAYER.key, LIVENET)), "wrong_version"),
    "version of testnet": Bad(pay(sign_message(good()["signed_message"], PAYER.key, TESTNET)), "wrong_version"),
    "old version": Bad(pay(changed(version="1.0dev")), "wrong_version"),
    "timestamp in the package": Bad(pay(signed_with_timestamp()), "unknown_field"),
    "last_ball_unit": Bad(pay(changed(last_ball_unit=base64.b64encode(bytes(32)).decode())), "unknown_field"),
    "two authors": Bad(pay(changed(authors=good()["authors"] * 2)), "not_one_author"),
    "no author": Bad(pay(changed(authors=[])), "not_one_author"),
    "extra field in the package": Bad(pay(changed(extra=1)), "unknown_field"),
    "extra field in the message": Bad(pay(PAYER.package(SPENT + 100, 100, extra=1)), "unknown_field"),
    "extra field in the author": Bad(pay(author(extra=1)), "unknown_field"),
    "extra authentifier": Bad(
        pay(author(authentifiers={**good()["authors"][0]["authentifiers"], "r1": "x"})), "invalid_authentifiers"
    ),
}

BAD_STATES = {
    "foreign channel": Bad(pay(PAYER.package(SPENT + 100, 100, aa_address=CLOSING.channel)), "wrong_signer"),
    "unknown channel": Bad(pay(UNKNOWN.package(10, 10)), "unknown_channel", error="unknown channel"),
    "wrong period": Bad(pay(PAYER.package(SPENT + 100, 100, period=2)), "wrong_period", error="wrong period"),
    "closing channel": Bad(pay(CLOSING.package(10, 10)), "channel_closing", error="closing initiated"),
    "period closed by us": Bad(pay(CLOSED_BY_ME.package(10, 10)), "period_closed_by_me", error="period closed by me"),
    "over capacity": Bad(pay(PAYER.package(DEPOSIT + 1, 100)), "not_funded", error="AA not funded enough."),
    "over credit": Bad(
        pay(PAYER.package(SPENT + 100, CREDIT + 101)),
        "over_credit",
        error="Payment amount is over your available credit.",
    ),
    "over credit with an old amount": Bad(pay(PAYER.package(1, CREDIT + 1)), "over_credit"),
    "an amount near the limit": Bad(pay(PAYER.package(9_000_000_000_000_000, 9_000_000_000_000_000)), "not_funded"),
}

BAD_PARAMETERS = {
    "parameters that hash to another address": Bad(
        pay(UNKNOWN.package(10, 10, channel_parameters=OTHER_SALT.parameters)), "wrong_channel_parameters"
    ),
    "parameters that hash to another address, known channel": Bad(
        pay(PAYER.package(SPENT + 100, 100, channel_parameters={**PAYER.parameters, "salt": "other"})),
        "wrong_channel_parameters",
    ),
    "parameters of another payer": Bad(
        pay(UNKNOWN.package(10, 10, channel_parameters=PAYER.parameters)),
        "wrong_channel_parameters",
        error="address in channel_parameters mismatches with signing address",
    ),
    "parameters with url": Bad(pay(introduced(url="http://169.254.169.254/")), "unknown_field"),
    "parameters with from_address": Bad(pay(introduced(from_address="0" + OWN.address)), "unknown_field"),
    "parameters of another type": Bad(pay(with_parameters("x")), "invalid_channel_parameters"),
    "null parameters": Bad(pay(with_parameters(None)), "invalid_channel_parameters"),
    "parameters without timeout": Bad(pay(introduced(timeout=...)), "missing_field"),
    "timeout too low": Bad(
        pay(Payer(payer_key(4), timeout_s=799).first_package(10, 10)),
        "timeout_too_low",
        error="Channel timeout is too low, min acceptable: 800 seconds",
    ),
    "timeout too high": Bad(
        pay(Payer(payer_key(4), timeout_s=1501).first_package(10, 10)),
        "timeout_too_high",
        error="Channel timeout is too high, max acceptable: 1500 seconds",
    ),
    "create_channel with a timeout too low": Bad(
        create(timeout=799), "timeout_too_low", error="Channel timeout is too low, min acceptable: 800 seconds"
    ),
    "create_channel with a timeout too high": Bad(
        create(timeout=1501), "timeout_too_high", error="Channel timeout is too high, max acceptable: 1500 seconds"
    ),
    "create_channel with a float timeout": Bad(create(timeout=1000.5), "invalid_timeout"),
    "create_channel with a numeric string timeout": Bad(create(timeout="1000"), "invalid_timeout"),
    "create_channel with a negative timeout": Bad(create(timeout=-1000), "invalid_timeout"),
    "create_channel with our address": Bad(create(address=OWN.address), "own_address"),
    "create_channel with an invalid address": Bad(create(address="x"), "invalid_address"),
    "create_channel without address": Bad(create(address=...), "missing_field"),
    "create_channel with an unknown asset": Bad(create(asset="gold"), "invalid_asset"),
    "create_channel with a non-canonical asset": Bad(create(asset="B" * 43 + "="), "invalid_asset"),
    "create_channel with an unknown version": Bad(
        create(version="7"), "unknown_agent_version", error="Unknown AA version"
    ),
    "create_channel with a long salt": Bad(create(salt="x" * 51), "invalid_salt", error="Salt must be 50 chars max"),
    "create_channel with an empty salt": Bad(create(salt=""), "invalid_salt"),
    "create_channel with a numeric salt": Bad(create(salt=7), "invalid_salt"),
    "create_channel with a bad url": Bad(create(url="javascript:alert(1)"), "invalid_url"),
}

EVERYTHING = NOT_A_COMMAND | BAD_ENVELOPES | BAD_PACKAGES | BAD_STATES | BAD_PARAMETERS


def body_of(bad: Bad) -> bytes:
    return bad.body if isinstance(bad.body, bytes) else json.dumps(bad.body).encode()


@pytest.mark.parametrize("name", EVERYTHING)
async def test_bad_input_on_post(name: str, front: Front, database_url: str) -> None:
    bad = EVERYTHING[name]
    before = await all_rows(database_url)
    response = await front.http.post("/post", content=body_of(bad))
    answer = response.json()
    assert (response.status_code, answer["code"]) == (bad.status, bad.code), answer
    assert "response" not in answer
    assert bad.error in (None, answer["error"])
    assert isinstance(answer["error"], str)
    assert await all_rows(database_url) == before


async def test_the_good_package_that_the_bad_ones_are_made_of_is_accepted(front: Front) -> None:
    # Last, because it changes the rows.
    assert "receipt" in await front.pay(good())
