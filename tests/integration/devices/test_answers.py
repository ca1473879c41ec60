"""What the application says to payments that come as device messages: the worker asks it as fronts do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import standardwebhooks

from shared.settings import Settings
from shared.webhooks.signing import Secret
from tests.http_servers import LOOPBACK, Asked, http_server, reply
from tests.integration.devices.support import Node, Phone
from tests.receiving_support import Payer
from worker.errors import ConfigurationError
from worker.thread import _application

if TYPE_CHECKING:
    from pathlib import Path

    from devnet.server import Devnet
    from shared.store.database import Database

SECRET = Secret(b"s" * 32)


@pytest.fixture
def given(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "secret").write_text(SECRET.text)
    return {"answer_secret_file": tmp_path / "secret", "webhook_allowed_networks": LOOPBACK}


async def test_the_application_answers_payments_over_messages_and_is_asked_again_only_without_an_answer(
    devnet: Devnet, database: Database, phone: Phone, given: dict[str, Any]
) -> None:
    answers = [reply(b"", 503), reply(b'{"goods": 1}')]
    payer = Payer()

    async def answer(_: Asked) -> bytes:
        return answers.pop(0)

    async with http_server(answer) as server:
        node = Node(devnet, database, answer_url=server.url, **given)
        async with node.running():
            await node.pen.open(payer)
            await node.invite()
            await phone.pair("one-time")
            await node.until_known(phone.address)
            pay = {"signed_package": payer.package(1000, 600), "message": {"order": 1}}
            first, second, third = [await phone.ask("pay", pay) for _ in range(3)]
        await node.bus.close()
    assert (first["response"], first["code"]) == ("received payment for 600 base", "application_failed")
    assert first["receipt"]["amount"] == 600
    assert (second["response"], second["receipt"]["duplicate"], "code" in second) == ({"goods": 1}, True, False)
    assert third["response"] == {"goods": 1}
    assert len(server.asked) == 2
    for asked in server.asked:
        standardwebhooks.Webhook(SECRET.text).verify(asked.body, asked.headers)
        assert json.loads(asked.body)["data"]["message"] == {"order": 1}


def test_an_application_that_cannot_be_asked_stops_the_worker_at_its_start(given: dict[str, Any]) -> None:
    settings = Settings(answer_url="https://shop.example/#x", **given)
    with pytest.raises(ConfigurationError, match="SLUICE_ANSWER_URL"):
        _application(settings)
    assert _application(settings.model_copy(update={"device_messages": False})) is None
