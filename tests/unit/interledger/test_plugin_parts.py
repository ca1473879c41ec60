from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.interledger.btp.frames import Error
from shared.interledger.errors import InterledgerError
from shared.interledger.plugin import errors
from shared.interledger.plugin.errors import BtpError, LedgerPluginError
from shared.interledger.plugin.life import Life, State, Step
from shared.interledger.plugin.log import formatted

ECONOMICAL = settings(max_examples=60, deadline=None)


@ECONOMICAL
@given(st.lists(st.sampled_from(Step), max_size=30))
def test_connect_and_disconnect_alternate_whatever_happens(steps: list[Step]) -> None:
    life = Life()
    told: list[str] = []
    for step in steps:
        told += life.take(step)
        comings = [event for event in told if event != "error"]
        expected = ["connect", "disconnect"] * len(comings)
        assert comings == expected[: len(comings)]  # LPI-17
        assert (life.state is State.CONNECTED) == (len(comings) % 2 == 1)  # LPI-6
    assert told.count("error") <= 1


def test_nothing_leaves_failed() -> None:
    life = Life()
    assert life.take(Step.FAIL) == ("error",)
    for step in Step:
        assert life.take(step) == ()
    assert life.state is State.FAILED


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("InvalidFieldsError", "F01"),
        ("NotAcceptedError", "F00"),
        ("UnreachableError", "T00"),
        ("TransferNotFoundError", "F03"),
        ("InvalidFulfillmentError", "F04"),
        ("DuplicateIdError", "F05"),
        ("AlreadyRolledBackError", "F06"),
        ("AlreadyFulfilledError", "F07"),
        ("InsufficientBalanceError", "F08"),
    ],
)
def test_errors_have_the_rfcs_names_and_their_codes(name: str, code: str) -> None:
    error = getattr(errors, name)("because")
    assert isinstance(error, LedgerPluginError)
    assert isinstance(error, InterledgerError)
    assert (error.name, error.btp_code, str(error)) == (name, code, "because")
    assert error.code == name.removesuffix("Error").replace("Already", "already_").lower() or "_" in error.code


def test_errors_of_the_host_have_names_too() -> None:
    for name in (
        "InvalidServicesError",
        "DataHandlerAlreadyRegisteredError",
        "MoneyHandlerAlreadyRegisteredError",
        "MoneyNotSentError",
        "BtpError",
    ):
        assert getattr(errors, name).name == name
    assert errors.InvalidServicesError("x").code == "invalid_services"
    assert str(LedgerPluginError()) == ""


def test_an_error_of_the_peer_keeps_what_it_said() -> None:
    at = datetime(2026, 11, 20, tzinfo=UTC)
    error = BtpError.of(Error(1, "F08", "InsufficientBalanceError", at, '{"message":"too much"}'))
    assert (error.code, error.name, error.triggered_at) == ("F08", "InsufficientBalanceError", at)
    assert error.data == '{"message":"too much"}'
    assert str(error) == "F08 InsufficientBalanceError: too much"


def test_a_fault_of_ours_is_not_told_to_the_peer() -> None:
    assert errors.refusal_of(errors.InsufficientBalanceError("too much")) == ("InsufficientBalanceError", "too much")
    assert errors.refusal_of(errors.NotConnectedError("later")) == ("UnreachableError", "later")
    name, message = errors.refusal_of(RuntimeError("password is hunter2"))
    assert name == "NotAcceptedError"
    assert "hunter2" not in message


@pytest.mark.parametrize(
    ("message", "params", "expected"),
    [
        ("plain", (), "plain"),
        ("%s and %s", ("a", "b"), "a and b"),
        ("%s and %s", ("a",), "a and %s"),
        ("100%% %s", (5,), "100% 5"),
        ("%d %d", (5, "7"), "5 7"),
        ("%d", ("x",), "NaN"),
        ("%j", ({"a": [1, None]},), '{"a":[1,null]}'),
        ("%o", ({"a": 1},), "{'a': 1}"),
        ("%O", ({"a": 1},), "{'a': 1}"),
        ("left over", (1, "x"), "left over 1 'x'"),
        ("%x %", (), "%x %"),
    ],
)
def test_messages_have_their_values(message: str, params: tuple[object, ...], expected: str) -> None:
    assert formatted(message, *params) == expected


def test_what_contains_itself_is_said_to() -> None:
    circle: list[object] = []
    circle.append(circle)
    assert formatted("%j", circle) == "[Circular]"
    assert "..." in formatted("%o", circle)


def test_what_cannot_be_shown_breaks_nothing() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise ValueError

    assert formatted("%s %o", Broken(), Broken()) == "[unprintable] [unprintable]"
