from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest
import standardwebhooks
from hypothesis import given
from hypothesis import strategies as st

from shared.webhooks.errors import SecretError, SignatureError
from shared.webhooks.signing import Secret, new_secret, read_secret, signed_headers, verify

NOW_S = 1_763_000_000
SECRET = Secret(b"k" * 32)
BODY = b'{"type": "payment"}'


def test_a_published_example_gives_the_published_signature() -> None:
    secret = read_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signed_headers([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b'{"test": 2432232314}')
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@given(key=st.binary(min_size=24, max_size=64), body=st.text(max_size=200), at=st.integers(0, 2**32))
def test_the_library_that_receivers_use_signs_the_same(key: bytes, body: str, at: int) -> None:
    ours = signed_headers([Secret(key)], "payment_7", at, body.encode())
    theirs = standardwebhooks.Webhook(Secret(key).text).sign("payment_7", datetime.fromtimestamp(at, UTC), body)
    assert ours["webhook-signature"] == theirs


def test_the_library_that_receivers_use_takes_ours_while_a_secret_is_replaced() -> None:
    now_s = int(datetime.now(UTC).timestamp())
    headers = signed_headers([SECRET, Secret(b"n" * 32)], "evt_1", now_s, BODY)
    for key in (b"k" * 32, b"n" * 32):
        assert standardwebhooks.Webhook(base64.b64encode(key).decode()).verify(BODY, headers) == {"type": "payment"}
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(Secret(b"x" * 32).text).verify(BODY, headers)


def test_a_message_is_taken_with_any_of_the_secrets() -> None:
    old, new, other = Secret(b"o" * 32), Secret(b"n" * 32), Secret(b"x" * 32)
    headers = signed_headers([old, new], "evt_1", NOW_S, BODY)
    for secrets in ([old], [new], [other, new]):
        assert verify(secrets, headers, BODY, now_s=NOW_S) == "evt_1"
    with pytest.raises(SignatureError):
        verify([other], headers, BODY, now_s=NOW_S)


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "evt_2"},
        {"webhook-timestamp": str(NOW_S + 1)},
        {"webhook-timestamp": f" {NOW_S}"},
        {"webhook-timestamp": "soon"},
        {"webhook-timestamp": ""},
        {"webhook-signature": ""},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1,nonsense!"},
        {"webhook-signature": "v1a,PLACE"},
        {"webhook-signature": "PLACE"},
    ],
)
def test_a_changed_header_is_refused(change: dict[str, str]) -> None:
    headers = signed_headers([SECRET], "evt_1", NOW_S, BODY)
    signature = headers["webhook-signature"].removeprefix("v1,")
    headers |= {name: value.replace("PLACE", signature) for name, value in change.items()}
    with pytest.raises(SignatureError):
        verify([SECRET], headers, BODY, now_s=NOW_S)


def test_a_changed_body_is_refused() -> None:
    with pytest.raises(SignatureError):
        verify([SECRET], signed_headers([SECRET], "evt_1", NOW_S, BODY), BODY + b" ", now_s=NOW_S)


@pytest.mark.parametrize("late_s", [-301, 301])
def test_a_message_of_another_time_is_refused(late_s: int) -> None:
    headers = signed_headers([SECRET], "evt_1", NOW_S, BODY)
    near_s = late_s - 1 if late_s > 0 else late_s + 1
    assert verify([SECRET], headers, BODY, now_s=NOW_S + near_s) == "evt_1"
    with pytest.raises(SignatureError):
        verify([SECRET], headers, BODY, now_s=NOW_S + late_s)


@pytest.mark.parametrize("message_id", ["", "a.b", "a b", "a\nb", "x" * 257])
def test_an_id_that_could_be_read_in_two_ways_is_not_signed(message_id: str) -> None:
    with pytest.raises(ValueError, match="full stops"):
        signed_headers([SECRET], message_id, NOW_S, BODY)


def test_a_secret_is_read_as_it_was_handed_over() -> None:
    secret = new_secret(lambda count: bytes(range(count)))
    assert secret.key == bytes(range(32))
    assert secret.text.startswith("whsec_")
    assert read_secret(secret.text) == secret


@pytest.mark.parametrize(
    "text",
    [
        "",
        "whsec_",
        "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0",
        "whsec_c2hvcnQ=",
        "whsec_nonsense!",
        "whsec_!" + "A" * 44,
        "whsec_" + "A" * 100,
    ],
)
def test_what_is_no_secret_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(SecretError) as refused:
        read_secret(text)
    assert not text.removeprefix("whsec_") or text not in str(refused.value)


def test_a_secret_does_not_show_in_a_log() -> None:
    assert "kkkk" not in repr(SECRET)
