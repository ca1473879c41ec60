"""The ways to a peer: what is sent, and what each failure means to the one who asked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from shared.obyte.keys import KeyPair
from shared.obyte.pairing import PairingCode
from shared.peers.answers import ChannelView
from shared.peers.errors import PeerError, PeerRefusedError, PeerTimeoutError, PeerUnreachableError
from worker.peers.peers import Peers

if TYPE_CHECKING:
    from collections.abc import Mapping

DEVICE = KeyPair(bytes([1]) * 32)
CODE = PairingCode(DEVICE.pubkey_b64, "hub.example/bb", "secret")


def over_http(answer: Any, sent: list[Any] | None = None) -> Peers:
    """Peers that answer every request over HTTP with this."""

    def handle(request: httpx.Request) -> httpx.Response:
        if sent is not None:
            sent.append((str(request.url), json.loads(request.content)))
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)

    http = httpx.AsyncClient(transport=httpx.MockTransport(handle))
    return Peers(http=http, clock=lambda: 12.5, random_bytes=bytes)


async def test_a_request_is_posted_to_the_base_url_with_a_tag_and_a_time() -> None:
    sent: list[Any] = []
    async with over_http({"response": True, "receipt": {"payment_id": 1}}, sent) as peers:
        transport = peers.to("https://shop.example/x")
        answer = await transport.request("is_ready", {"aa_address": "A"})
    assert answer == {"response": True, "receipt": {"payment_id": 1}}
    assert (transport.url, transport.device) == ("https://shop.example/x/", None)
    envelope = {"command": "is_ready", "params": {"aa_address": "A"}, "tag": "00" * 30, "timestamp": 12_500}
    assert sent == [("https://shop.example/x/post", envelope)]


async def test_opening_a_channel_is_not_dated() -> None:
    sent: list[Any] = []
    async with over_http({"response": {}}, sent) as peers:
        await peers.to("http://shop").request("create_channel", {})
    assert "timestamp" not in sent[0][1]


async def test_a_refusal_carries_the_code_and_the_view_of_the_peer() -> None:
    view = {"period": 1, "amount_spent": 2, "credit": 3, "status": "open"}
    async with over_http({"response": False, "error": "no", "code": "over_credit", "channel": view}) as peers:
        with pytest.raises(PeerRefusedError) as refused:
            await peers.to("http://shop").request("pay", {})
    assert (refused.value.code, refused.value.text) == ("over_credit", "no")
    assert refused.value.channel == ChannelView(1, 2, 3, "open")


@pytest.mark.parametrize(
    ("failure", "kind", "code", "may_have_acted"),
    [
        (httpx.ConnectError("refused"), PeerUnreachableError, "peer_unreachable", False),
        (httpx.ConnectTimeout("slow"), PeerTimeoutError, "peer_timeout", False),
        (httpx.ReadTimeout("slow"), PeerTimeoutError, "peer_timeout", True),
        (httpx.ReadError("cut"), PeerUnreachableError, "peer_unreachable", True),
        (httpx.Response(503), PeerUnreachableError, "peer_unavailable", True),
        (httpx.Response(302, headers={"location": "http://evil/"}), PeerUnreachableError, "bad_answer", True),
        (httpx.Response(200, json=[]), PeerUnreachableError, "bad_answer", True),
        (httpx.Response(200, json={}), PeerUnreachableError, "bad_answer", True),
    ],
)
async def test_without_an_answer_the_asker_learns_whether_the_peer_may_have_acted(
    failure: Any, kind: type[PeerError], code: str, *, may_have_acted: bool
) -> None:
    async with over_http(failure) as peers:
        with pytest.raises(kind) as unanswered:
            await peers.to("http://shop").request("pay", {})
    error = unanswered.value
    assert (error.code, getattr(error, "may_have_acted", None)) == (code, may_have_acted)


class Asker:
    """Exchanges messages with nobody; remembers what it was asked for."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[Any] = []

    async def ask(
        self, device: str, envelope: Mapping[str, Any], *, invitation: PairingCode | None, timeout_s: float
    ) -> Any:
        self.asked.append((device, envelope["command"], invitation, timeout_s))
        return self.answer


async def test_a_pairing_code_and_a_device_address_lead_to_the_messenger() -> None:
    asker = Asker({"response": 1, "tag": "t", "url": None})
    async with Peers(asker) as peers:
        assert peers.to(str(CODE)).device == DEVICE.device_address
        assert (await peers.to(str(CODE)).request("pay", {}))["response"] == 1
        await peers.to(DEVICE.device_address).request("pay", {})
    assert asker.asked == [(DEVICE.device_address, "pay", CODE, 10), (DEVICE.device_address, "pay", None, 10)]


async def test_a_refusal_and_nonsense_mean_the_same_over_messages() -> None:
    async with Peers(Asker({"error": "no"})) as peers:
        with pytest.raises(PeerRefusedError) as refused:
            await peers.to(str(CODE)).request("pay", {})
    assert refused.value.code == "refused"
    async with Peers(Asker("nonsense")) as peers:
        with pytest.raises(PeerUnreachableError) as unanswered:
            await peers.to(str(CODE)).request("pay", {})
    assert unanswered.value.code == "bad_answer"


async def test_a_worker_without_messages_says_so() -> None:
    async with Peers() as peers:
        with pytest.raises(PeerUnreachableError) as off:
            peers.to(DEVICE.device_address)
    assert (off.value.code, off.value.may_have_acted) == ("messenger_off", False)


@pytest.mark.parametrize(
    ("contact", "code"),
    [("", "invalid_contact"), ("ftp://x", "invalid_contact"), ("http://", "invalid_url"), ("x@y#z", "invalid_contact")],
)
async def test_what_leads_nowhere_is_refused(contact: str, code: str) -> None:
    async with Peers() as peers:
        with pytest.raises(PeerError) as refused:
            peers.to(contact)
    assert refused.value.code == code


async def test_what_a_refusing_peer_says_is_printable_and_short() -> None:
    content = json.dumps({"error": "no\x00\x1b[2J\ud800", "code": "x\x00" * 100}).encode()
    async with over_http(httpx.Response(200, content=content)) as peers:
        with pytest.raises(PeerRefusedError) as refused:
            await peers.to("http://peer.example").request("pay", {})
    assert (refused.value.text, refused.value.code) == ("no  [2J ", "x " * 32)


@pytest.mark.parametrize(("depth", "is_read"), [(31, True), (32, False), (950, False)])
async def test_an_answer_that_nests_too_deep_is_none(depth: int, is_read: bool) -> None:  # noqa: FBT001
    content = b'{"response":' + b"[" * depth + b"]" * depth + b"}"
    async with over_http(httpx.Response(200, content=content)) as peers:
        if is_read:
            assert await peers.to("http://peer.example").request("pay", {})
        else:
            with pytest.raises(PeerUnreachableError):
                await peers.to("http://peer.example").request("pay", {})
