from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from shared.logs import REDACTED, configure_logging, get_logger
from shared.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = {"signed_message": {"amount_spent": 5, "channel": "A"}, "authors": [{"authentifiers": {"r": "c2ln"}}]}


@pytest.fixture
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


@pytest.fixture
def lines(restored: None) -> Any:
    stream = io.StringIO()
    configure_logging(Settings(log_format="json", log_level="info"), stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def test_one_json_object_per_line(lines: Any) -> None:
    get_logger("front.app").info("payment_accepted", aa_address="AA", amount=5)

    (line,) = lines()
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "message": "payment_accepted",
        "aa_address": "AA",
        "amount": 5,
        "level": "info",
        "logger": "front.app",
    }


def test_libraries_log_in_the_same_shape(lines: Any) -> None:
    logging.getLogger("some.library").warning("lost %s", "connection")

    assert lines()[0]["message"] == "lost connection"


def test_events_below_the_level_are_dropped(lines: Any) -> None:
    get_logger("front").debug("detail")

    assert lines() == []


def test_libraries_that_tell_of_every_request_are_heard_in_debugging_only(lines: Any) -> None:
    logging.getLogger("websockets.server").info("connection open")
    assert lines() == []

    configure_logging(Settings(log_level="debug"), io.StringIO())
    assert logging.getLogger("websockets.server").isEnabledFor(logging.INFO)


def test_console_lines_are_for_people(restored: None) -> None:
    stream = io.StringIO()
    configure_logging(Settings(log_format="console"), stream)

    get_logger("worker").warning("hub_lost", retry_in_s=3)

    assert "hub_lost" in stream.getvalue()
    assert "retry_in_s=3" in stream.getvalue()


@pytest.mark.parametrize(
    "name",
    [
        *["passphrase", "wallet_passphrase", "mnemonic", "seed", "private_key", "api_key", "token", "claim"],
        *["signature", "Authorization", "database_dsn", "signed_package", "webhook_secret", "password"],
    ],
)
def test_secrets_are_known_by_their_name(lines: Any, name: str) -> None:
    get_logger("x").info("event", **{name: "hunter2", "nested": {"list": [{name: "hunter2"}]}})

    assert lines()[0][name] == REDACTED
    assert "hunter2" not in json.dumps(lines())


@pytest.mark.parametrize("value", [PACKAGE, [PACKAGE], {"body": PACKAGE}, json.dumps(PACKAGE), repr(PACKAGE)])
def test_a_signed_package_is_known_by_its_shape(lines: Any, value: Any) -> None:
    get_logger("x").info("received", what=value)

    assert "c2ln" not in json.dumps(lines())


def test_a_signed_package_inside_a_message_text_is_hidden(lines: Any) -> None:
    logging.getLogger("library").warning("bad body %s", json.dumps(PACKAGE))

    assert "c2ln" not in json.dumps(lines())


def test_passwords_inside_urls_are_hidden_even_in_tracebacks(lines: Any) -> None:
    def fail() -> None:
        raise ConnectionError("no route to postgresql://sluice:hunter2@db/sluice")

    try:
        fail()
    except ConnectionError:
        get_logger("x").exception("database_lost", redis=b"redis://:hunter2@cache/0")

    assert "hunter2" not in json.dumps(lines())
    assert f"postgresql://sluice:{REDACTED}@db/sluice" in lines()[0]["exception"]


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("< %s: Bearer sluice_{0}", "< authorization: Bearer [redacted]"),
        ("< %s: sluice, bearer.sluice_{0}", "< authorization: sluice, bearer.[redacted]"),
        ("%s: sluice_{0}, whsec_{0}=", "authorization: sluice_[redacted], whsec_[redacted]"),
        ("%s: bearer {0}", "authorization: bearer [redacted]"),
    ],
)
def test_keys_in_headers_that_a_library_writes_out_are_hidden(lines: Any, line: str, shown: str) -> None:
    logging.getLogger("uvicorn.error").warning(line.format("aB3-_" * 9), "authorization")

    assert lines()[0]["message"] == shown


def test_names_that_only_begin_like_keys_are_shown(lines: Any) -> None:
    get_logger("x").info("sluice_payments_total", path="/var/lib/sluice_home")

    assert (lines()[0]["message"], lines()[0]["path"]) == ("sluice_payments_total", "/var/lib/sluice_home")


def test_secrets_are_hidden_before_logging_was_configured(caplog: pytest.LogCaptureFixture) -> None:
    get_logger("sdk").warning("opened", passphrase="hunter2")

    assert "hunter2" not in caplog.text
    assert REDACTED in caplog.text
