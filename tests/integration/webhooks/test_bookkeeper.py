"""The example that receives: our signatures are checked by a foreign library."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import httpx
import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from examples.bookkeeper.server import create
from shared.store import channels, payments
from tests.integration.sdk.support import serving
from tests.integration.store.builders import address, insert_open, payment
from tests.integration.webhooks.support import Answer

if TYPE_CHECKING:
    from tests.integration.webhooks.support import Office, Receiver


async def test_payments_are_booked_once_by_who_checks_the_signature(office: Office, receiver: Receiver) -> None:
    office.now_s = time.time()  # the library goes by the real clock
    receiver.answer = Answer(status=500)
    _, secret = await office.add(receiver.url)
    async with office.database.transaction() as conn:
        await insert_open(conn)
    async with office.database.transaction() as conn:
        channel = (await channels.lock(conn, [address()]))[address()].channel
        after = replace(channel, spent_by_peer=70, claim="claim")
        await payments.record_batch(conn, [after], [payment(70, 70, message='{"order":7}')])
    await office.work()
    async with serving(create(secret.text)) as url:
        async with office.database.transaction() as conn:
            await conn.execute("UPDATE webhooks SET url = $1", f"{url}/sluice")
        office.now_s += 5
        await office.work()
        async with office.database.transaction() as conn:
            await conn.execute("UPDATE webhooks SET position = 0")
        await office.work()
        async with httpx.AsyncClient() as http:
            assert (await http.get(f"{url}/earned")).json() == {"base": 70}
            forged = {"webhook-id": "1", "webhook-timestamp": str(int(time.time())), "webhook-signature": "v1,AAAA"}
            assert (await http.post(f"{url}/sluice", headers=forged, content=b"{}")).status_code == 401


async def test_the_library_refuses_what_was_changed(office: Office, receiver: Receiver) -> None:
    office.now_s = time.time()
    _, secret = await office.add(receiver.url)
    await office.happen(1)
    await office.work()
    [request] = receiver.requests
    library = Webhook(secret.text)
    assert library.verify(request.body, request.headers)["data"] == {"amount": 1}
    for body, headers in (
        (request.body.replace(b"1", b"2"), request.headers),
        (request.body, request.headers | {"webhook-id": "another"}),
        (request.body, request.headers | {"webhook-timestamp": str(int(office.now_s) - 1)}),
    ):
        with pytest.raises(WebhookVerificationError):
            library.verify(body, headers)
