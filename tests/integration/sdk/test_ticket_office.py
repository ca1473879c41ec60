"""The example that is asked over HTTP, with a front, a worker and a ledger, as a reader runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from examples.ticket_office import server as office_server
from front.app import create_app
from shared.webhooks.signing import Secret
from tests.http_servers import LOOPBACK
from tests.integration.sdk.support import serving
from tests.running import free_ports

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.sdk.conftest import Market


async def test_ticket_office(market: Market, tmp_path: Path) -> None:
    secret = Secret(b"s" * 32).text
    (tmp_path / "answer.secret").write_text(secret)
    [port] = free_ports(1)
    office = office_server.create(secret)
    async with serving(office) as office_url:
        update = {
            "answer_url": f"{office_url}/answer",
            "answer_secret_file": tmp_path / "answer.secret",
            "webhook_allowed_networks": LOOPBACK,
            "public_url": f"http://127.0.0.1:{port}/",
        }
        settings = market.settings.model_copy(update=update)
        async with serving(create_app(settings), port) as url, market.payer() as payer:
            channel = await payer.open_channel(f"{url}/", deposit=1_000_000)
            await channel.wait_open(timeout_s=30)
            assert (await channel.pay(office_server.PRICE)).response == {"ticket": 1}
            assert (await payer.resend(1)).response == {"ticket": 1}
            assert (await channel.pay(office_server.PRICE)).response == {"ticket": 2}
            assert (await channel.pay(5)).response == {"error": "a ticket costs 100", "paid": 5}
        async with httpx.AsyncClient(base_url=office_url) as stranger:
            assert (await stranger.post("/answer", json={"data": {"amount": 100}})).status_code == 401
    assert sorted(office.state.office.tickets.values()) == [1, 2]
