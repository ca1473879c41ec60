from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from shared.channels.model import Status
from shared.settings import Settings
from tests.integration.front.conftest import running_front
from tests.receiving_support import OWN, Payer, administrator, all_rows, payer_key

if TYPE_CHECKING:
    from tests.integration.front.conftest import Front
    from tests.receiving_support import Worker


@pytest.fixture
async def payer(worker: Worker) -> Payer:
    somebody = Payer()
    await worker.open(somebody)
    return somebody


async def test_a_payment_is_answered_as_the_reference_does_and_with_a_receipt(front: Front, payer: Payer) -> None:
    answer = await front.pay(payer.package(1000, 1000), message={"order": 1})
    assert answer == {
        "response": "received payment for 1000 base",
        "receipt": {
            "payment_id": answer["receipt"]["payment_id"],
            "amount": 1000,
            "asset": "base",
            "aa_address": payer.channel,
            "period": 1,
            "amount_spent": 1000,
            "duplicate": False,
        },
    }


async def test_a_payment_is_on_record_when_it_is_answered(front: Front, payer: Payer, worker: Worker) -> None:
    package = payer.package(1000, 600)
    await front.pay(package)
    channel = await worker.read(payer)
    assert (channel.spent_by_peer, channel.credit) == (1000, 400)
    assert channel.claim is not None
    assert package["authors"][0]["authentifiers"]["r"] in channel.claim


async def test_a_repeated_package_gets_the_first_receipt_and_nothing_is_credited(
    front: Front, payer: Payer, database_url: str
) -> None:
    package = payer.package(1000, 600)
    first = await front.pay(package)
    before = await all_rows(database_url)
    second = await front.pay(package)
    assert second == {"response": first["response"], "receipt": {**first["receipt"], "duplicate": True}}
    assert await all_rows(database_url) == before


async def test_a_repeated_package_gets_its_receipt_although_the_channel_is_closing(
    front: Front, payer: Payer, worker: Worker
) -> None:
    first = await front.pay(payer.package(1000, 600))
    await worker.change(payer, status=Status.CLOSING_BY_PEER, close_started_at_s=1, claimed_by_peer=0, last_event_id=2)
    second = await front.pay(payer.package(1000, 600))
    assert second["receipt"] == {**first["receipt"], "duplicate": True}
    assert (await front.pay(payer.package(1001, 1)))["code"] == "channel_closing"


async def test_a_refusal_names_the_rule_and_helps_the_payer_back_in_step(front: Front, payer: Payer) -> None:
    await front.pay(payer.package(1000, 900))
    assert await front.pay(payer.package(1000, 200)) == {
        "error": "Payment amount is over your available credit.",
        "code": "over_credit",
        "channel": {"period": 1, "amount_spent": 1000, "credit": 100, "status": "open"},
    }


async def test_a_stranger_learns_nothing_about_the_channel(front: Front, payer: Payer) -> None:
    await front.pay(payer.package(1000, 1000))
    stranger = Payer(payer_key(2))
    answer = await front.pay(stranger.package(1000, 1000, aa_address=payer.channel))
    assert answer == {
        "error": f"package signed by wrong address expected : {payer.address}",
        "code": "wrong_signer",
    }


async def test_the_watchers_silence_stops_new_payments_but_not_retries(
    front: Front, payer: Payer, worker: Worker
) -> None:
    await front.pay(payer.package(1000, 1000))
    async with worker.database.transaction() as conn:
        await conn.execute("UPDATE instance SET watcher_synced_at = now() - interval '1 hour'")
    body = {"command": "pay", "params": {"signed_package": payer.package(2000, 1000)}}
    refused = await front.http.post("/post", json=body)
    assert (refused.status_code, refused.json()["code"]) == (503, "watcher_silent")
    assert int(refused.headers["retry-after"]) > 0
    assert (await front.pay(payer.package(1000, 1000)))["receipt"]["duplicate"] is True
    assert (await front.command("is_ready", {"aa_address": payer.channel}))["code"] == "watcher_silent"


async def test_create_channel_can_be_repeated(front: Front, database_url: str) -> None:
    payer = Payer()
    first = await front.command("create_channel", payer.parameters)
    assert first == {"response": {"address_a": OWN.address, "aa_address": payer.channel}}
    before = await all_rows(database_url)
    assert await front.command("create_channel", payer.parameters) == first
    assert await all_rows(database_url) == before


async def test_create_channel_refuses_a_salt_that_the_peer_has_used_otherwise(front: Front) -> None:
    payer = Payer()
    await front.command("create_channel", payer.parameters)
    answer = await front.command("create_channel", {**payer.parameters, "timeout": 1001})
    assert answer == {"error": "this salt already exists", "code": "salt_exists"}


async def test_create_channel_works_without_a_salt(front: Front) -> None:
    payer = Payer(salt=None)
    answer = await front.command("create_channel", payer.parameters)
    assert answer["response"]["aa_address"] == payer.channel
    assert await front.command("create_channel", {**payer.parameters, "salt": None}) == answer


async def test_is_ready_when_a_payment_could_be_taken(front: Front, payer: Payer) -> None:
    assert await front.command("is_ready", {"aa_address": payer.channel}) == {"response": True}
    fresh = {"timestamp": int(time.time() * 1000), "tag": "ab" * 30}
    assert await front.command("is_ready", {"aa_address": payer.channel}, **fresh) == {"response": True}


async def test_is_ready_tells_why_not(front: Front, payer: Payer, worker: Worker) -> None:
    async def why(somebody: Payer) -> Any:
        return (await front.command("is_ready", {"aa_address": somebody.channel}))["error"]

    assert await why(Payer(payer_key(2))) == "aa address not known"
    unfunded = Payer(payer_key(3))
    await worker.insert(unfunded)
    assert await why(unfunded) == "not ready, no spendable unconfirmed funds"
    spent = Payer(payer_key(4))
    await worker.open(spent, deposit=10)
    await front.pay(spent.package(10, 10))
    assert await why(spent) == "not ready, no spendable unconfirmed funds"
    await worker.change(payer, period_closed_by_me=1)
    assert await why(payer) == "not ready, period closed by me"
    await worker.change(payer, status=Status.CLOSING_BY_ME, close_started_at_s=1, last_event_id=2)
    assert await why(payer) == "not ready, channel status: closing_initiated_by_me"
    assert (await front.command("is_ready", {"aa_address": "nonsense"}))["error"] == "Invalid aa address"


async def test_is_ready_while_credit_is_left_of_a_spent_deposit(front: Front, worker: Worker) -> None:
    payer = Payer()
    await worker.open(payer, deposit=10)
    await front.pay(payer.package(10, 4))
    assert await front.command("is_ready", {"aa_address": payer.channel}) == {"response": True}


@pytest.mark.parametrize(("front_is_ahead_s", "seen_s_ago", "ready"), [(3600, 0, False), (-3600, 900, True)])
async def test_is_ready_judges_the_age_of_a_deposit_by_the_clock_of_the_database(
    worker: Worker,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    front_is_ahead_s: float,
    seen_s_ago: float,
    *,
    ready: bool,
) -> None:
    payer = Payer()
    await worker.insert(payer)
    await worker.see_unit(payer, amount=1_000)
    async with administrator(database_url) as conn:
        await conn.execute("UPDATE peer_units SET first_seen_at = now() - make_interval(secs => $1)", seen_s_ago)
    wall_clock = time.time
    monkeypatch.setattr(time, "time", lambda: wall_clock() + front_is_ahead_s)
    limits = {"base": {"max_by_asset": 10_000, "max_by_channel": 10_000, "min_age_s": 600}}
    async with running_front(Settings(database_url=database_url, unconfirmed_limits=limits)) as front:
        answer = await front.command("is_ready", {"aa_address": payer.channel})
    assert ("response" in answer) is ready, answer


async def test_answers_are_not_cached(front: Front) -> None:
    response = await front.http.post("/post", json={"command": "is_ready", "params": {"aa_address": "x"}})
    assert response.headers["cache-control"] == "no-store"
