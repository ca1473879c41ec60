"""The hub client against a real WebSocket server on loopback that speaks the same protocol."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from shared.obyte.errors import HubError
from shared.obyte.hub_client import HubClient
from shared.obyte.hub_errors import HubAnswerError, HubClosedError, HubRequestError, HubTimeoutError, JointRefusedError
from shared.obyte.hub_protocol import HubProtocol, Justsaying, Reply, Request
from shared.obyte.hub_requests import refusal_kind
from shared.obyte.networks import DEVNET, TESTNET, Network

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from websockets.http11 import Response

BOUND_S = 5.0


class Hub:
    """A scripted hub: `answers` by command; a callable gets the params, an exception is told as error."""

    def __init__(self, network: Network = DEVNET) -> None:
        self.network = network
        self.answers: dict[str, Any] = {}
        self.requests: list[tuple[str, Any]] = []
        self.asked = asyncio.Semaphore(0)
        self.heartbeats = asyncio.Event()
        self.sockets: list[ServerConnection] = []
        self.protocol: HubProtocol | None = None
        self.is_silent = False

    async def handle(self, socket: ServerConnection) -> None:
        protocol = self.protocol = HubProtocol("hub", self.network, program="testhub")
        self.sockets.append(socket)
        if not self.is_silent:
            await socket.send(protocol.version())
            _, subscribe = protocol.request("subscribe", {"last_mci": 1})
            await socket.send(subscribe)
        async for text in socket:
            if '"heartbeat"' in str(text):
                self.heartbeats.set()
            if self.is_silent:
                continue
            for event in protocol.receive(str(text)):
                match event:
                    case Request():
                        await self.serve(socket, protocol, event)
                    case Reply(frame=frame):
                        await socket.send(frame)
                    case _:
                        pass

    async def serve(self, socket: ServerConnection, protocol: HubProtocol, asked: Request) -> None:
        self.requests.append((asked.command, asked.params))
        self.asked.release()
        if asked.command not in self.answers:
            return
        answer = self.answers[asked.command]
        if isinstance(answer, Exception):
            await socket.send(protocol.respond_error(asked.tag, asked.command, str(answer)))
        else:
            value = answer(asked.params) if callable(answer) else answer
            await socket.send(protocol.respond(asked.tag, asked.command, value))

    async def say(self, subject: str, body: Any = None) -> None:
        assert self.protocol is not None
        await self.sockets[-1].send(self.protocol.justsaying(subject, body))


@asynccontextmanager
async def connected(hub: Hub, **settings: Any) -> AsyncIterator[HubClient]:
    async with serve(hub.handle, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        client = HubClient(f"ws://127.0.0.1:{port}", DEVNET, **settings)
        try:
            await client.connect()
            yield client
        finally:
            await client.close()


async def test_a_request_gets_its_answer() -> None:
    hub = Hub()
    hub.answers["get_last_mci"] = 42
    async with connected(hub) as client:
        assert client.is_open
        assert await client.request("get_last_mci") == 42
        assert hub.requests == [("get_last_mci", None)]


async def test_answers_find_their_requests_in_any_order() -> None:
    hub = Hub()
    hub.answers["echo"] = lambda params: params
    async with connected(hub) as client:
        answers = await asyncio.gather(*(client.request("echo", number) for number in range(200)))
        assert answers == list(range(200))


async def test_an_error_answer_is_raised() -> None:
    hub = Hub()
    hub.answers["light/get_history"] = ValueError("your history is too large")
    async with connected(hub) as client:
        with pytest.raises(HubRequestError) as refused:
            await client.request("light/get_history")
        assert refused.value.hub_text == "your history is too large"
        assert refused.value.code == "hub_refused"


async def test_a_request_without_answer_times_out_and_the_connection_goes_on() -> None:
    hub = Hub()
    hub.answers["known"] = 1
    async with connected(hub) as client:
        with pytest.raises(HubTimeoutError):
            await client.request("unknown", timeout_s=0.02)
        assert await client.request("known") == 1


async def test_pending_requests_fail_when_the_hub_goes_away() -> None:
    hub = Hub()
    async with connected(hub) as client:
        pending = [asyncio.create_task(client.request("never")) for _ in range(3)]
        async with asyncio.timeout(BOUND_S):
            for _ in pending:
                await hub.asked.acquire()
            await hub.sockets[0].close()
            results = await asyncio.gather(*pending, return_exceptions=True)
            assert [result.code for result in results if isinstance(result, HubClosedError)] == ["closed_by_hub"] * 3
            assert (await client.wait_closed()).code == "closed_by_hub"
        with pytest.raises(HubClosedError):
            await client.request("later")
        assert not client.is_open


async def test_pending_requests_fail_when_we_close() -> None:
    hub = Hub()
    async with connected(hub) as client:
        pending = asyncio.create_task(client.request("never"))
        await asyncio.sleep(0)
        await client.close()
        with pytest.raises(HubClosedError) as closed:
            await pending
        assert closed.value.code == "closed_by_us"


async def test_the_client_introduces_itself_and_refuses_to_be_subscribed_to() -> None:
    hub = Hub()
    hub.answers["ping"] = 1
    async with connected(hub, program="sluice-test") as client:
        await client.request("ping")
        assert hub.protocol is not None
        assert hub.protocol.peer_version is not None
        assert hub.protocol.peer_version.program == "sluice-test"
        assert hub.protocol.pending_tags == ()


async def test_a_hub_of_another_network_is_left() -> None:
    with pytest.raises(HubClosedError) as refused:
        async with connected(Hub(TESTNET)):
            pass
    assert refused.value.code == "bad_version"


async def test_a_hub_that_never_introduces_itself_is_left() -> None:
    hub = Hub()
    hub.is_silent = True
    with pytest.raises(HubTimeoutError):
        async with connected(hub, request_timeout_s=0.05):
            pass


async def test_a_hub_that_is_not_there_is_unreachable() -> None:
    client = HubClient("ws://127.0.0.1:1", DEVNET)
    with pytest.raises(HubClosedError) as refused:
        await client.connect()
    assert refused.value.code == "unreachable"
    assert (await client.wait_closed()).code == "unreachable"


async def test_a_hub_is_reached_at_the_address_that_was_checked_whatever_its_name_says() -> None:
    async with serve(Hub().handle, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with HubClient(f"ws://no-such-host.invalid:{port}", DEVNET, connect_to="127.0.0.1") as client:
            assert client.is_open


async def test_a_hub_that_sends_us_elsewhere_is_not_followed_from_a_checked_address() -> None:
    def send_elsewhere(socket: ServerConnection, _: object) -> Response:
        return socket.respond(307, "")

    def with_location(_socket: object, _request: object, response: Response) -> None:
        response.headers["Location"] = "ws://127.0.0.1:1/inside"

    server = serve(Hub().handle, "127.0.0.1", 0, process_request=send_elsewhere, process_response=with_location)
    async with server as running:
        port = next(iter(running.sockets)).getsockname()[1]
        client = HubClient(f"ws://hub.invalid:{port}", DEVNET, connect_to="127.0.0.1")
        with pytest.raises(HubClosedError) as refused:
            await client.connect()
    assert refused.value.code == "unreachable"


async def test_a_client_connects_once() -> None:
    async with connected(Hub()) as client:
        with pytest.raises(HubClosedError):
            await client.connect()


@pytest.mark.parametrize(
    ("url", "network"),
    [
        ("ws://hub.example.org/bb", TESTNET),
        ("http://127.0.0.1/", DEVNET),
        ("ws://10.0.0.1/", TESTNET),
        ("hub.example.org/bb", TESTNET),
        ("ws://127.0.0.1.example.org/", TESTNET),
    ],
)
async def test_money_is_not_followed_over_plain_connections(url: str, network: Network) -> None:
    with pytest.raises(HubClosedError) as refused:
        await HubClient(url, network).connect()
    assert refused.value.code == "insecure_url"


async def test_notifications_come_in_order() -> None:
    hub = Hub()
    async with connected(hub) as client:
        await hub.say("light/have_updates")
        await hub.say("joint", {"unit": {}})
        async with asyncio.timeout(BOUND_S):
            assert await client.next_notification() == Justsaying("light/have_updates", None)
            assert await client.next_notification() == Justsaying("joint", {"unit": {}})


async def test_unread_notifications_are_still_there_after_the_end() -> None:
    hub = Hub()
    async with connected(hub) as client:
        await hub.say("light/have_updates")
        await hub.sockets[0].close()
        async with asyncio.timeout(BOUND_S):
            await client.wait_closed()
            assert (await client.next_notification()).subject == "light/have_updates"
            with pytest.raises(HubClosedError):
                await client.next_notification()


async def test_a_waiting_reader_learns_of_the_end() -> None:
    hub = Hub()
    async with connected(hub) as client:
        reader = asyncio.create_task(client.next_notification())
        await asyncio.sleep(0)
        await hub.sockets[0].close()
        async with asyncio.timeout(BOUND_S):
            with pytest.raises(HubClosedError):
                await reader


async def test_notifications_are_never_lost_silently() -> None:
    hub = Hub()
    async with connected(hub, max_notifications=3) as client:
        for _ in range(4):
            await hub.say("light/have_updates")
        async with asyncio.timeout(BOUND_S):
            assert (await client.wait_closed()).code == "notifications_overflow"


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


async def test_a_silent_hub_is_asked_and_then_given_up() -> None:
    hub, clock = Hub(), Clock()
    async with connected(hub, clock=clock, heartbeat_check_s=0.001) as client, asyncio.timeout(BOUND_S):
        hub.is_silent = True
        clock.now_s = 10.0
        await hub.heartbeats.wait()
        assert client.is_open
        clock.now_s = 70.0
        assert (await client.wait_closed()).code == "hub_silent"


async def test_an_answered_heartbeat_keeps_the_connection() -> None:
    hub, clock = Hub(), Clock()
    hub.answers["ping"] = 1
    async with connected(hub, clock=clock, heartbeat_check_s=0.001) as client, asyncio.timeout(BOUND_S):
        clock.now_s = 10.0
        await hub.heartbeats.wait()
        await client.request("ping")
        hub.heartbeats.clear()
        clock.now_s = 75.0
        await hub.heartbeats.wait()
        assert client.is_open


async def test_binary_and_broken_frames_are_passed_over() -> None:
    hub = Hub()
    hub.answers["ping"] = 1
    async with connected(hub) as client:
        await hub.sockets[0].send(b"\x00\x01")
        await hub.sockets[0].send("[[[")
        assert await client.request("ping") == 1


async def test_a_frame_over_the_limit_ends_the_connection() -> None:
    hub = Hub()
    async with connected(hub) as client, asyncio.timeout(BOUND_S):
        await hub.sockets[0].send("x" * (6 * 1024 * 1024 + 1))
        assert (await client.wait_closed()).code == "frame_too_large"


ADDRESS = "4LLSURBMWBLF5S6X6NGZZPGK5NZT62V6"
WITNESSES = [ADDRESS, "WY2BUWUP7NMMG62V4SJJXV4GXKY7TTEB"]


@pytest.mark.parametrize("answer", [None, [], "x", [1], ["X"], WITNESSES[::-1], [ADDRESS, ADDRESS]])
async def test_a_witness_list_must_be_one(answer: Any) -> None:
    hub = Hub()
    hub.answers["get_witnesses"] = answer
    async with connected(hub) as client:
        with pytest.raises(HubAnswerError):
            await client.get_witnesses()


async def test_the_witness_list_is_read() -> None:
    hub = Hub()
    hub.answers["get_witnesses"] = WITNESSES
    async with connected(hub) as client:
        assert await client.get_witnesses() == tuple(WITNESSES)


async def test_history_requests_leave_out_what_is_empty() -> None:
    hub = Hub()
    hub.answers["light/get_history"] = {}
    async with connected(hub) as client:
        assert await client.get_history(witnesses=WITNESSES, addresses=[ADDRESS], min_mci=0) == {}
    assert hub.requests == [("light/get_history", {"witnesses": WITNESSES, "addresses": [ADDRESS], "min_mci": 0})]


async def test_a_definition_must_have_the_address_asked_for() -> None:
    hub = Hub()
    definition = ["sig", {"pubkey": "AnYGBWDAWs/q5wlPZN42YKFE30hXpp6RAlkBl2NQY9hp"}]
    hub.answers["light/get_definition"] = lambda address: definition if address in WITNESSES else None
    async with connected(hub) as client:
        assert await client.get_definition(ADDRESS) == definition
        assert await client.get_definition("unknown") is None
        with pytest.raises(HubAnswerError):
            await client.get_definition(WITNESSES[1])


async def test_a_joint_must_be_the_one_asked_for() -> None:
    hub = Hub()
    hub.answers["get_joint"] = {
        "here": {"joint": {"unit": {"unit": "here"}}},
        "gone": {"joint_not_found": "gone"},
        "other": {"joint": {"unit": {"unit": "here"}}},
    }.get
    async with connected(hub) as client:
        assert await client.get_joint("here") == {"unit": "here"}
        assert await client.get_joint("gone") is None
        for unit in ("other", "nothing"):
            with pytest.raises(HubAnswerError):
                await client.get_joint(unit)


async def test_posting_a_joint_that_the_hub_knows_already_is_success() -> None:
    hub = Hub()
    async with connected(hub) as client:
        hub.answers["post_joint"] = "accepted"
        await client.post_joint({"unit": {}})
        hub.answers["post_joint"] = ValueError("known")
        await client.post_joint({"unit": {}})
        hub.answers["post_joint"] = ValueError("known bad")
        with pytest.raises(JointRefusedError):
            await client.post_joint({"unit": {}})
        hub.answers["post_joint"] = "maybe"
        with pytest.raises(HubAnswerError):
            await client.post_joint({"unit": {}})


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("already handling this unit", "in_work"),
        ("unknown parents", "recompose"),
        ("last ball just advanced, try again", "recompose"),
        ("last ball unit X is not stable in view of your parents Y", "recompose"),
        ("tps fee 1 paid, 2 required", "recompose"),
        ("duplicate definition of address X", "recompose"),
        ("The transaction would be non-serial (a double spend)", "double_spend"),
        ("wrong payload hash", "refused"),
        ("known bad", "refused"),
    ],
)
def test_what_to_do_about_a_refused_unit(text: str, kind: str) -> None:
    assert refusal_kind(text) == kind


PARENTS: dict[str, Any] = {
    "timestamp": 1000,
    "parent_units": ["OpDzEXYFvxTXJjS8G1x79V7HMh5HQ1HFO/1P2SbhBEs="],
    "last_stable_mc_ball": "lzuY1O86rIyZHV0CeDfDxnZ+wF6+IOXEnAPY3eWI3og=",
    "last_stable_mc_ball_unit": "tVKfvGW/AK5ODH5bPruGdO/TttJjEfuJzgJ3ge5rfiE=",
    "last_stable_mc_ball_mci": 7,
    "tps_fee": 3,
    "count_primary_aa_triggers": 0,
}


async def ask_parents(client: HubClient, **known: Any) -> Any:
    return await client.get_parents(
        witnesses=WITNESSES, from_addresses=[ADDRESS], output_addresses=[ADDRESS], now_s=1000, **known
    )


async def test_parents_are_read() -> None:
    hub = Hub()
    hub.answers["light/get_parents_and_last_ball_and_witness_list_unit"] = PARENTS
    async with connected(hub) as client:
        parents = await ask_parents(client, max_aa_responses=1)
    assert (parents.last_ball_mci, parents.tps_fee, parents.timestamp_s) == (7, 3, 1000)
    assert hub.requests[0][1]["max_aa_responses"] == 1


@pytest.mark.parametrize(
    "change",
    [
        {"timestamp": 1301},
        {"timestamp": 699},
        {"timestamp": "1000"},
        {"parent_units": []},
        {"parent_units": "x"},
        {"parent_units": ["x"]},
        {"parent_units": PARENTS["parent_units"] * 2},
        {"last_stable_mc_ball": None},
        {"last_stable_mc_ball_unit": "x"},
        {"last_stable_mc_ball_mci": 4},
        {"last_stable_mc_ball_mci": True},
        {"tps_fee": -1},
        {"tps_fee": 1.5},
        {"count_primary_aa_triggers": None},
    ],
)
async def test_unbelievable_parents_are_refused(change: dict[str, Any]) -> None:
    hub = Hub()
    hub.answers["light/get_parents_and_last_ball_and_witness_list_unit"] = {**PARENTS, **change}
    async with connected(hub) as client:
        with pytest.raises(Exception, match=r"must|lower|clock") as refused:
            await ask_parents(client, last_seen_mci=5)
    assert refused.value.code == "bad_parents"  # type: ignore[attr-defined]


async def test_all_errors_are_hub_errors_and_long_texts_are_cut() -> None:
    hub = Hub()
    hub.answers["x"] = ValueError("y" * 10_000)
    async with connected(hub) as client:
        with pytest.raises(HubError) as refused:
            await client.request("x")
    assert len(str(refused.value)) < 600


HASH, OTHER_HASH = "oj8yEksX9Ubq7lLc+p6F2uyHUuynugeVq4+ikT67X6E=", "TvqutGPz3T4Cs6oiChxFlclY92M2MvCvfXR5/FETato="
LOOK_UPS: list[tuple[str, dict[str, Any], str, Any, Any, Any]] = [
    ("get_last_mci", {}, "get_last_mci", None, 42, 42),
    (
        "get_time",
        {"witnesses": ["W"], "address": "A"},
        "light/get_parents_and_last_ball_and_witness_list_unit",
        {"witnesses": ["W"], "from_addresses": ["A"], "output_addresses": ["A"]},
        {"timestamp": 1_700_000_000, "last_stable_mc_ball_unit": HASH},
        (1_700_000_000, HASH),
    ),
    ("get_aa_state_vars", {"address": "A"}, "light/get_aa_state_vars", {"address": "A"}, {"period": 2}, {"period": 2}),
    (
        "get_aa_response_units",
        {"address": "A", "min_mci": 0},
        "light/get_aa_responses",
        {"aa": "A", "min_mci": 1, "order": "ASC"},
        [{"mci": 5, "response_unit": HASH}, {"mci": 6, "response_unit": None}],
        [(5, HASH), (6, None)],
    ),
    (
        "get_stable_balances",
        {"address": "A"},
        "light/get_balances",
        ["A"],
        {"A": {"base": {"stable": 7, "pending": 1}, HASH: {"stable": 0}}},
        {"base": 7},
    ),
    ("get_stable_balances", {"address": "A"}, "light/get_balances", ["A"], {}, {}),
    (
        "pick_coins",
        {"address": "A", "asset": HASH, "amount": 5, "last_ball_mci": 9},
        "light/pick_divisible_coins_for_amount",
        {"addresses": ["A"], "last_ball_mci": 9, "amount": 5, "spend_unconfirmed": "none", "asset": HASH},
        {
            "inputs_with_proofs": [
                {"input": {"unit": OTHER_HASH, "message_index": 0, "output_index": 0}},
                {"input": {"unit": OTHER_HASH, "message_index": 0, "output_index": 1}},
                {"input": {"type": "headers_commission", "from_main_chain_index": 1, "to_main_chain_index": 2}},
            ],
            "total_amount": 9,
        },
        [OTHER_HASH],
    ),
]


@pytest.mark.parametrize(("method", "arguments", "command", "params", "answer", "found"), LOOK_UPS)
async def test_look_ups(
    method: str, arguments: dict[str, Any], command: str, params: Any, answer: Any, found: Any
) -> None:
    hub = Hub()
    hub.answers[command] = answer
    async with connected(hub) as client:
        assert await getattr(client, method)(**arguments) == found
    assert hub.requests == [(command, params)]


@pytest.mark.parametrize(
    ("method", "arguments", "command", "answer"),
    [
        (method, arguments, command, answer)
        for method, arguments, command, _, _, _ in LOOK_UPS
        for answer in ("x", [None], {"A": 7}, {"A": {"base": {"stable": -1}}}, {"inputs_with_proofs": [{}]})
        if not (method == "get_aa_state_vars" and isinstance(answer, dict))
        and not (method == "get_stable_balances" and answer == {"inputs_with_proofs": [{}]})
    ],
)
async def test_look_ups_that_make_no_sense_are_refused(
    method: str, arguments: dict[str, Any], command: str, answer: Any
) -> None:
    hub = Hub()
    hub.answers[command] = answer
    async with connected(hub) as client:
        with pytest.raises(HubAnswerError):
            await getattr(client, method)(**arguments)
