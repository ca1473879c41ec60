from __future__ import annotations

import base64
import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from shared.obyte.agents import CHANNELS_BASE_AA
from shared.obyte.hashing import digest_of
from shared.obyte.keys import KeyPair
from shared.obyte.networks import DEVNET, LIVENET, TESTNET, network_named
from shared.receiving.errors import PackageRefused
from shared.receiving.verification import MAX_PACKAGE_CHARACTERS, SignedPayment, verify_payment_package

if TYPE_CHECKING:
    from collections.abc import Callable

VECTORS = Path(__file__).parents[2] / "vectors" / "obyte"
PAYER = KeyPair(bytes(31) + b"\x01")
STRANGER = KeyPair(bytes(31) + b"\x02")
CHANNEL = "3RRQKBT3MNRJPQW7CNOFTBQZC7TGWA5H"
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

Package = dict[str, Any]


def vectors(name: str) -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads((VECTORS / name).read_text())["cases"]
    return cases


def signed(message: Package, *, key: KeyPair = PAYER, version: str = DEVNET.version, **more: Any) -> Package:
    author = {"address": key.address, "definition": key.definition}
    package = {"version": version, "signed_message": message, "authors": [author], **more}
    signature = key.sign(digest_of(package))
    return {**package, "authors": [{**author, "authentifiers": {"r": signature}}]}


def terms(**changes: Any) -> Package:
    return {"payment_amount": 1000, "amount_spent": 3000, "period": 2, "aa_address": CHANNEL, **changes}


def parameters(**changes: Any) -> Package:
    return {"timeout": 1000, "asset": "base", "address": PAYER.address, "version": "1.1", "salt": "s1", **changes}


def without(members: Package, name: str) -> Package:
    return {key: value for key, value in members.items() if key != name}


def author_of(package: Package) -> Package:
    author: Package = package["authors"][0]
    return author


def refusal_of(package: object) -> PackageRefused:
    with pytest.raises(PackageRefused) as caught:
        verify_payment_package(package, DEVNET)
    return caught.value


@pytest.mark.parametrize("case", vectors("payment_packages.json"), ids=lambda case: f"{case['network']} {case['name']}")
def test_vector_packages_verify(case: dict[str, Any]) -> None:
    payment = verify_payment_package(case["package"], network_named(case["network"]))
    message = case["package"]["signed_message"]
    assert payment.payer_address == case["signer"]
    assert payment.terms.payment_amount == message["payment_amount"]
    assert payment.terms.amount_spent == message["amount_spent"]
    assert payment.terms.period == message["period"]
    assert payment.terms.aa_address == message["aa_address"]
    assert json.loads(payment.text) == case["package"]
    assert (payment.channel_parameters is not None) == ("channel_parameters" in message)


@pytest.mark.parametrize("case", vectors("payment_packages.json"), ids=lambda case: f"{case['network']} {case['name']}")
def test_vector_packages_do_not_verify_on_another_network(case: dict[str, Any]) -> None:
    other = TESTNET if case["network"] == "livenet" else LIVENET
    with pytest.raises(PackageRefused, match="version"):
        verify_payment_package(case["package"], other)


@pytest.mark.parametrize("case", vectors("signed_messages.json"), ids=lambda case: f"{case['network']} {case['name']}")
def test_no_signed_message_that_is_no_payment_passes(case: dict[str, Any]) -> None:
    with pytest.raises(PackageRefused):
        verify_payment_package(case.get("package") or case.get("message"), network_named(case["network"]))


def test_gives_the_terms_and_parameters() -> None:
    package = signed(terms(channel_parameters=parameters()))
    payment = verify_payment_package(package, DEVNET)
    assert payment.terms.key == (CHANNEL, 2, 3000, 1000)
    assert payment.channel_parameters is not None
    assert payment.channel_parameters.salt == "s1"
    assert payment.channel_parameters.timeout_s == 1000


@pytest.mark.parametrize(
    "salt", ["x", "a b", '"quoted"', "\u00e9", "\u2028", "\x7f", "\t", "\U0001f600", "\U0001d7d9", "x" * 50]
)
def test_the_hash_is_the_protocols_for_any_salt(salt: str) -> None:
    package = signed(terms(channel_parameters=parameters(salt=salt)))
    payment = verify_payment_package(package, DEVNET)
    assert payment.channel_parameters is not None
    assert payment.channel_parameters.salt == salt


def test_the_longest_package_stays_within_the_documented_size() -> None:
    most = 9_000_000_000_000_000
    package = signed(
        terms(
            payment_amount=most,
            amount_spent=most,
            period=most,
            channel_parameters=parameters(salt='"' * 50, asset=base64.b64encode(bytes(32)).decode(), timeout=most),
        )
    )
    assert len(verify_payment_package(package, DEVNET).text) <= MAX_PACKAGE_CHARACTERS


def test_neither_repr_nor_error_shows_the_package() -> None:
    package = signed(terms())
    signature = author_of(package)["authentifiers"]["r"]
    assert signature not in repr(verify_payment_package(package, DEVNET))
    package["signed_message"]["payment_amount"] = 1001
    assert signature not in str(refusal_of(package))


def change(path: str, value: Any) -> Callable[[Package], Package]:
    """Change one member after signing."""

    def apply(package: Package) -> Package:
        changed = copy.deepcopy(package)
        *parents, last = path.split(".")
        target: Any = changed
        for name in parents:
            target = target[int(name) if name.isdigit() else name]
        if value is ...:
            del target[last]
        else:
            target[int(last) if last.isdigit() else last] = value
        return changed

    return apply


TAMPERED: dict[str, tuple[Callable[[Package], Package], str]] = {
    "payment_amount": (change("signed_message.payment_amount", 1001), "bad_signature"),
    "amount_spent": (change("signed_message.amount_spent", 3001), "bad_signature"),
    "period": (change("signed_message.period", 3), "bad_signature"),
    "aa_address": (change("signed_message.aa_address", PAYER.address), "bad_signature"),
    "parameters added": (change("signed_message.channel_parameters", parameters()), "bad_signature"),
    "address": (change("authors.0.address", STRANGER.address), "wrong_definition"),
    "definition": (change("authors.0.definition", STRANGER.definition), "wrong_definition"),
    "address and definition": (
        lambda package: change("authors.0.address", STRANGER.address)(
            change("authors.0.definition", STRANGER.definition)(package)
        ),
        "bad_signature",
    ),
    "signature of another key": (
        change("authors.0.authentifiers.r", STRANGER.sign(bytes(32))),
        "bad_signature",
    ),
    "version removed": (change("version", ...), "missing_field"),
    "timestamp added": (change("timestamp", 1700000000), "unknown_field"),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_refuses_what_was_changed_after_signing(name: str) -> None:
    tamper, code = TAMPERED[name]
    package = signed(terms())
    verify_payment_package(package, DEVNET)
    assert refusal_of(tamper(package)).code == code


BAD_TERMS: dict[str, tuple[Package, str]] = {
    "no payment_amount": (without(terms(), "payment_amount"), "missing_field"),
    "no amount_spent": (without(terms(), "amount_spent"), "missing_field"),
    "no period": (without(terms(), "period"), "missing_field"),
    "no aa_address": (without(terms(), "aa_address"), "missing_field"),
    "extra field": (terms(note="x"), "unknown_field"),
    "zero payment": (terms(payment_amount=0), "invalid_amount"),
    "negative payment": (terms(payment_amount=-1), "invalid_amount"),
    "boolean payment": (terms(payment_amount=True), "invalid_amount"),
    "float payment": (terms(payment_amount=1.5), "invalid_amount"),
    "integral float payment": (terms(payment_amount=1000.0), "invalid_amount"),
    "numeric string payment": (terms(payment_amount="1000"), "invalid_amount"),
    "payment over the ledger's limit": (terms(payment_amount=9_000_000_000_000_001), "invalid_amount"),
    "zero spent": (terms(amount_spent=0), "invalid_amount"),
    "boolean spent": (terms(amount_spent=True), "invalid_amount"),
    "float spent": (terms(amount_spent=3000.0), "invalid_amount"),
    "numeric string spent": (terms(amount_spent="3000"), "invalid_amount"),
    "spent over the ledger's limit": (terms(amount_spent=9_000_000_000_000_001), "invalid_amount"),
    "zero period": (terms(period=0), "invalid_period"),
    "boolean period": (terms(period=True), "invalid_period"),
    "float period": (terms(period=2.0), "invalid_period"),
    "numeric string period": (terms(period="2"), "invalid_period"),
    "address with a wrong checksum": (terms(aa_address=CHANNEL[:-1] + "I"), "invalid_aa_address"),
    "lowercase address": (terms(aa_address=CHANNEL.lower()), "invalid_aa_address"),
    "address as a number": (terms(aa_address=5), "invalid_aa_address"),
    "address as an array": (terms(aa_address=[CHANNEL]), "invalid_aa_address"),
    "parameters of another type": (terms(channel_parameters="x"), "invalid_channel_parameters"),
    "parameters with url": (terms(channel_parameters=parameters(url="http://127.0.0.1/")), "unknown_field"),
    "parameters with from_address": (terms(channel_parameters=parameters(from_address="x")), "unknown_field"),
    "parameters of another payer": (
        terms(channel_parameters=parameters(address=STRANGER.address)),
        "wrong_channel_parameters",
    ),
    "parameters with a numeric salt": (terms(channel_parameters=parameters(salt=5)), "invalid_salt"),
    "parameters with an empty salt": (terms(channel_parameters=parameters(salt="")), "invalid_salt"),
    "parameters with a long salt": (terms(channel_parameters=parameters(salt="x" * 51)), "invalid_salt"),
    "parameters with a salt long in UTF-16": (
        terms(channel_parameters=parameters(salt="\U0001f600" * 26)),
        "invalid_salt",
    ),
    "parameters with a float timeout": (terms(channel_parameters=parameters(timeout=1000.0)), "invalid_timeout"),
    "parameters with a boolean timeout": (terms(channel_parameters=parameters(timeout=True)), "invalid_timeout"),
    "parameters with a zero timeout": (terms(channel_parameters=parameters(timeout=0)), "invalid_timeout"),
    "parameters with a bad asset": (terms(channel_parameters=parameters(asset="gold")), "invalid_asset"),
    "parameters with a sloppy asset": (terms(channel_parameters=parameters(asset="B" * 43 + "=")), "invalid_asset"),
    "parameters with an unknown version": (
        terms(channel_parameters=parameters(version="9.9")),
        "unknown_agent_version",
    ),
    "parameters with a numeric version": (terms(channel_parameters=parameters(version=1.1)), "unknown_agent_version"),
    "parameters without asset": (terms(channel_parameters=without(parameters(), "asset")), "missing_field"),
}


@pytest.mark.parametrize("name", BAD_TERMS)
def test_refuses_terms_although_they_are_signed(name: str) -> None:
    message, code = BAD_TERMS[name]
    assert refusal_of(signed(message)).code == code


def high_s(package: Package) -> Package:
    raw = base64.b64decode(author_of(package)["authentifiers"]["r"])
    flipped = raw[:32] + (ORDER - int.from_bytes(raw[32:])).to_bytes(32)
    return change("authors.0.authentifiers.r", base64.b64encode(flipped).decode())(package)


def uncompressed(package: Package) -> Package:
    point = PAYER._parsed.public_key.format(compressed=False)
    return change("authors.0.definition.1.pubkey", base64.b64encode(point).decode())(package)


OFF_CURVE = base64.b64encode(b"\x02" + b"\xff" * 32).decode()
SIGNATURE = "authors.0.authentifiers.r"
BAD_SHAPES: dict[str, tuple[Callable[[Package], object], str]] = {
    "null": (lambda _: None, "not_an_object"),
    "a list": (lambda package: [package], "not_an_object"),
    "a string": (json.dumps, "not_an_object"),
    "empty": (lambda _: {}, "missing_field"),
    "null message": (change("signed_message", None), "not_an_object"),
    "string message": (change("signed_message", "x"), "not_an_object"),
    "no message": (change("signed_message", ...), "missing_field"),
    "null version": (change("version", None), "wrong_version"),
    "numeric version": (change("version", 4.0), "wrong_version"),
    "version of another network": (change("version", "4.0"), "wrong_version"),
    "version without timestamp": (change("version", "1.0dev"), "wrong_version"),
    "older version": (change("version", "2.0dev"), "wrong_version"),
    "last_ball_unit": (change("last_ball_unit", base64.b64encode(bytes(32)).decode()), "unknown_field"),
    "null authors": (change("authors", None), "not_one_author"),
    "authors as an object": (lambda package: change("authors", author_of(package))(package), "not_one_author"),
    "no authors": (change("authors", []), "not_one_author"),
    "null author": (change("authors", [None]), "not_an_object"),
    "two authors": (lambda package: change("authors", package["authors"] * 2)(package), "not_one_author"),
    "extra author field": (change("authors.0.note", "x"), "unknown_field"),
    "no definition": (change("authors.0.definition", ...), "missing_field"),
    "null definition": (change("authors.0.definition", None), "unsupported_definition"),
    "or definition": (
        change("authors.0.definition", ["or", [PAYER.definition, STRANGER.definition]]),
        "unsupported_definition",
    ),
    "definition with an explicit algorithm": (
        change("authors.0.definition.1.algo", "secp256k1"),
        "unsupported_definition",
    ),
    "definition of an agent": (
        change("authors.0.definition", ["autonomous agent", {"base_aa": CHANNELS_BASE_AA["1.1"]}]),
        "unsupported_definition",
    ),
    "definition of three": (
        change("authors.0.definition", [*PAYER.definition, 1]),
        "unsupported_definition",
    ),
    "numeric key": (change("authors.0.definition.1.pubkey", 5), "unsupported_definition"),
    "65-byte key": (uncompressed, "invalid_pubkey"),
    "key off the curve": (change("authors.0.definition.1.pubkey", OFF_CURVE), "invalid_pubkey"),
    "key with sloppy base64": (change("authors.0.definition.1.pubkey", "A" * 43 + "\n"), "invalid_pubkey"),
    "numeric address": (change("authors.0.address", 5), "invalid_address"),
    "null address": (change("authors.0.address", None), "invalid_address"),
    "null authentifiers": (change("authors.0.authentifiers", None), "invalid_authentifiers"),
    "no signature": (change("authors.0.authentifiers", {}), "invalid_authentifiers"),
    "signature at another path": (change("authors.0.authentifiers", {"r.0": "x"}), "invalid_authentifiers"),
    "unused extra signature": (change("authors.0.authentifiers.r1", "x"), "invalid_authentifiers"),
    "null signature": (change(SIGNATURE, None), "invalid_signature"),
    "empty signature": (change(SIGNATURE, ""), "invalid_signature"),
    "short signature": (lambda p: change(SIGNATURE, author_of(p)["authentifiers"]["r"][:84])(p), "invalid_signature"),
    "signature with a line break": (
        lambda p: change(SIGNATURE, author_of(p)["authentifiers"]["r"][:87] + "\n")(p),
        "invalid_signature",
    ),
    "signature with unused bits": (
        lambda p: change(SIGNATURE, author_of(p)["authentifiers"]["r"][:85] + "/==")(p),
        "invalid_signature",
    ),
    "signature in the URL alphabet": (change(SIGNATURE, "-" * 86 + "=="), "invalid_signature"),
    "signature of zeros": (change(SIGNATURE, "A" * 86 + "=="), "bad_signature"),
    "high-S signature": (high_s, "bad_signature"),
}


@pytest.mark.parametrize("name", BAD_SHAPES)
def test_refuses_the_shape(name: str) -> None:
    reshape, code = BAD_SHAPES[name]
    assert refusal_of(reshape(signed(terms()))).code == code


@pytest.mark.parametrize("version", ["1.0dev", "2.0dev", "3.0dev", "4.0", "4.0t", "5.0dev"])
def test_refuses_other_versions_although_signed(version: str) -> None:
    assert refusal_of(signed(terms(), version=version)).code == "wrong_version"


def test_refuses_a_signed_timestamp_because_the_agent_does() -> None:
    assert refusal_of(signed(terms(), timestamp=1700000000)).code == "unknown_field"


def test_one_package_has_one_text() -> None:
    package = signed(terms())
    shuffled = dict(reversed(list(package.items())))
    first: SignedPayment = verify_payment_package(package, DEVNET)
    second: SignedPayment = verify_payment_package(shuffled, DEVNET)
    assert first.text == second.text
