from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.obyte.errors import DeviceMessageError
from shared.obyte.keys import KeyPair
from shared.obyte.pairing import (
    PairingCode,
    is_valid_hub,
    new_pairing_secret,
    parse_pairing_code,
)
from shared.settings import Settings

KEY = KeyPair(bytes([1]) * 32)


def test_a_code_reads_back_and_keeps_its_secret_out_of_its_repr() -> None:
    code = PairingCode(KEY.pubkey_b64, "obyte.org/bb", "hush")
    assert parse_pairing_code(f"  {code}\n") == code
    assert "hush" not in repr(code)


@pytest.mark.parametrize("prefix", ["obyte:", "obyte-tn:", "byteball:", "OBYTE:"])
def test_links_of_every_network_are_read(prefix: str) -> None:
    assert parse_pairing_code(f"{prefix}{KEY.pubkey_b64}@obyte.org/bb#x").secret == "x"


@pytest.mark.parametrize(
    "bad", ["", "@#", "a@b#c", f"{KEY.pubkey_b64}@#c", f"x{KEY.pubkey_b64}@h#c", "é@h#c", "a" * 9_999]
)
def test_what_is_no_code_is_refused_and_never_quoted(bad: str) -> None:
    with pytest.raises(DeviceMessageError) as refused:
        parse_pairing_code(bad)
    assert not bad or bad not in str(refused.value)


@pytest.mark.parametrize("hub", ["obyte.org/bb", "localhost:6611", "127.0.0.1", "a-b.example:443/x/y"])
def test_hubs(hub: str) -> None:
    assert is_valid_hub(hub)


@pytest.mark.parametrize(
    "hub", ["", None, 1, "/bb", "//x", "user@host", "host?x", "host#x", "host:99999", "host:x", "h st", "é", "h" * 201]
)
def test_what_is_no_hub(hub: object) -> None:
    assert not is_valid_hub(hub)


@given(st.text(string.ascii_letters + string.digits + "_/+-", min_size=4, max_size=200))
def test_every_secret_that_the_settings_take_fits_into_a_code(secret: str) -> None:
    kept = Settings(pairing_secret=secret).pairing_secret
    assert kept is not None
    assert (
        parse_pairing_code(str(PairingCode(KEY.pubkey_b64, "obyte.org/bb", kept.get_secret_value()))).secret == secret
    )


def test_fresh_secrets_fit_into_codes_and_differ() -> None:
    first, second = new_pairing_secret(), new_pairing_secret()
    assert first != second
    assert parse_pairing_code(str(PairingCode(KEY.pubkey_b64, "obyte.org/bb", first))).secret == first
