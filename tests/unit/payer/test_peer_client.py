"""Requests to receivers: what counts as an answer, what is sent again, and when it is given up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from shared.peers.answers import ChannelView, PeerAnswer
from shared.peers.http import MAX_ANSWER_BYTES
from sluice.payer.errors import PayerError, PeerUnreachableError
from sluice.payer.peers import PeerClient, RetryPolicy, base_url_of

if TYPE_CHECKING:
    from collections.abc import Callable

POLICY = RetryPolicy(attempts=4, first_pause_s=1.0, longest_pause_s=3.0, give_up_after_s=100)


class Peer:
    """Answers requests with what a test has laid out; remembers bodies and pauses."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.bodies: list[bytes] = []
        self.pauses: list[float] = []
        self._http = httpx.AsyncClient(transport=httpx.MockTransport(self._handle))

    def _handle(self, request: httpx.Request) -> httpx.Response:
        assert str(request.url) == "http://peer/shop/post"
        self.bodies.append(request.content)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, httpx.Response):
            return answer
        return httpx.Response(200, json=answer)

    async def ask(self, policy: RetryPolicy = POLICY, body: Callable[[], bytes] = lambda: b"{}") -> PeerAnswer:
        async def sleep(pause_s: float) -> None:
            self.pauses.append(pause_s)

        client = PeerClient(self._http, policy=policy, sleep=sleep, spread=lambda: 1.0)
        try:
            return await client.ask("http://peer/shop/", body)
        finally:
            await self._http.aclose()


async def test_a_response_is_an_answer() -> None:
    answer = await Peer({"response": {"a": 1}, "receipt": {"payment_id": 5}}).ask()
    assert (answer.response, answer.receipt, answer.error) == ({"a": 1}, {"payment_id": 5}, None)


@pytest.mark.parametrize("response", [None, False, 0, "", []])
async def test_an_empty_response_is_one_too(response: Any) -> None:
    assert (await Peer({"response": response}).ask()).error is None


async def test_an_error_is_an_answer_and_not_repeated() -> None:
    view = {"period": 1, "amount_spent": 2, "credit": 3, "status": "open"}
    peer = Peer({"error": "no", "code": "over_credit", "channel": view, "response": False})
    answer = await peer.ask()
    assert (answer.error, answer.code, answer.view) == ("no", "over_credit", ChannelView(1, 2, 3, "open"))
    assert len(peer.bodies) == 1


@pytest.mark.parametrize("view", [None, [], {"period": "1"}, {"period": 1, "amount_spent": 2}])
async def test_a_view_that_is_none_is_left_out(view: Any) -> None:
    assert (await Peer({"error": "no", "channel": view}).ask()).view is None


async def test_an_error_told_with_a_client_error_status_is_an_answer() -> None:
    answer = await Peer(httpx.Response(413, json={"error": "too large", "code": "body_too_large"})).ask()
    assert (answer.error, answer.code) == ("too large", "body_too_large")


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (httpx.ConnectError("refused"), "peer_unreachable"),
        (httpx.ReadTimeout("slow"), "peer_timeout"),
        (httpx.RemoteProtocolError("cut"), "peer_unreachable"),
        (httpx.Response(500, json={"error": "crashed"}), "peer_unavailable"),
        (httpx.Response(503, json={"error": "later"}), "peer_unavailable"),
        (httpx.Response(429), "peer_unavailable"),
        (httpx.Response(200, content=b""), "bad_answer"),
        (httpx.Response(200, content=b"\xff"), "bad_answer"),
        (httpx.Response(200, json={}), "bad_answer"),
        (httpx.Response(404, json={"response": 1}), "bad_answer"),
        (httpx.Response(302, headers={"location": "http://evil/"}), "bad_answer"),
        (httpx.Response(200, content=b" " * (MAX_ANSWER_BYTES + 1)), "bad_answer"),
    ],
)
async def test_what_leaves_the_payment_open_is_sent_again(failure: Any, code: str) -> None:
    peer = Peer(failure, {"response": 1})
    assert (await peer.ask()).response == 1
    assert len(peer.bodies) == 2
    hopeless = Peer(*[failure] * 4)
    with pytest.raises(PeerUnreachableError) as uncertain:
        await hopeless.ask()
    assert uncertain.value.code == code
    assert len(hopeless.bodies) == 4


async def test_pauses_grow_up_to_a_limit() -> None:
    peer = Peer(*[httpx.ConnectError("refused")] * 4)
    with pytest.raises(PeerUnreachableError):
        await peer.ask()
    assert peer.pauses == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(("told", "pause_s"), [("2", 2.0), ("0", 1.0), ("3600", 3.0), ("soon", 1.0), ("-5", 1.0)])
async def test_a_peer_may_ask_for_a_longer_pause_but_not_for_a_senseless_one(told: str, pause_s: float) -> None:
    peer = Peer(httpx.Response(503, headers={"retry-after": told}), {"response": 1})
    await peer.ask()
    assert peer.pauses == [pause_s]


async def test_no_pause_reaches_beyond_the_time_to_give_up() -> None:
    peer = Peer(*[httpx.ConnectError("refused")] * 4)
    with pytest.raises(PeerUnreachableError):
        await peer.ask(RetryPolicy(attempts=4, first_pause_s=1.0, longest_pause_s=3.0, give_up_after_s=0.5))
    assert peer.pauses == []


async def test_every_sending_has_an_envelope_of_its_own() -> None:
    numbers = iter(range(10))
    peer = Peer(httpx.ConnectError("refused"), {"response": 1})
    await peer.ask(body=lambda: str(next(numbers)).encode())
    assert peer.bodies == [b"0", b"1"]


@pytest.mark.parametrize(("url", "base"), [("http://a", "http://a/"), ("https://a:1/b/", "https://a:1/b/")])
def test_base_urls_end_with_a_slash(url: str, base: str) -> None:
    assert base_url_of(url) == base


@pytest.mark.parametrize("url", ["", "a", "//a", "ftp://a", "http://", "http://a?b", "http://a#b", "http://[a"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(PayerError) as refused:
        base_url_of(url)
    assert refused.value.code == "invalid_url"
