from __future__ import annotations

import asyncio
import logging
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.interledger import LedgerPlugin
from shared.interledger.plugin.errors import (
    DataHandlerAlreadyRegisteredError,
    InvalidAmountError,
    InvalidFieldsError,
    InvalidServicesError,
    MoneyHandlerAlreadyRegisteredError,
    MoneyNotSentError,
    NotAcceptedError,
    NotConnectedError,
    UnreachableError,
    WrongTypeError,
)
from shared.interledger.plugin.life import Step
from shared.interledger.plugin.options import ConnectOptions, PluginServices, timeout_s
from shared.interledger.plugin.spellings import SPELLINGS

ECONOMICAL = settings(max_examples=60, deadline=None)

ORDERS = ("connect", "disconnect", "lost", "ready", "refuse", "cancel", "stall", "go", "pass")


class Store:
    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    async def get(self, key: str) -> str | None:
        return self.values.get(key)

    async def put(self, key: str, value: str) -> None:
        self.values[key] = value

    def delete(self, key: str) -> None:
        self.values.pop(key, None)


class Plugin(LedgerPlugin):
    """A plugin whose peer is this test."""

    def __init__(self, opts: Any = None, api: Any = None) -> None:
        super().__init__({} if opts is None else opts, api)
        self.calls: list[str] = []
        self.events: list[str] = []
        self.refusal: Exception | None = None
        self.ready = asyncio.Event()
        self.ready.set()
        self.answers = asyncio.Event()
        self.answers.set()
        self.on("connect", lambda: self.events.append(f"connect {self.is_connected()}"))
        self.on("disconnect", lambda: self.events.append(f"disconnect {self.is_connected()}"))
        self.on("error", lambda error: self.events.append(f"error {error}"))

    async def _connect(self) -> None:
        self.calls.append("connect")
        await self.ready.wait()
        if self.refusal:
            raise self.refusal

    async def _disconnect(self) -> None:
        self.calls.append("disconnect")

    async def _send_data(self, data: bytes) -> bytes:
        await self.answers.wait()
        return data[::-1]

    async def _send_money(self, amount: int) -> None:
        await self.answers.wait()
        self.calls.append(f"money {amount}")


def test_the_version_can_be_read_without_an_instance() -> None:
    assert LedgerPlugin.version == 2  # LPI-1
    assert type(LedgerPlugin.version) is int


def test_a_plugin_is_made_without_a_loop_and_opens_nothing() -> None:
    assert Plugin().calls == []  # LPI-3; this test is not asynchronous
    with pytest.raises(TypeError):
        LedgerPlugin({})  # type: ignore[abstract]


# Connecting


async def test_connecting_again_does_nothing_and_is_told_once() -> None:
    plugin = Plugin()
    await plugin.connect()
    await plugin.connect({"timeout": 5})
    assert plugin.calls == ["connect"]  # LPI-4
    assert plugin.events == ["connect True"]
    assert plugin.is_connected()


async def test_all_who_wait_share_one_attempt() -> None:
    plugin = Plugin()
    plugin.ready.clear()
    waiting = [asyncio.create_task(plugin.connect()) for _ in range(3)]
    await asyncio.sleep(0)
    assert not plugin.is_connected()
    plugin.ready.set()
    await asyncio.gather(*waiting)
    assert plugin.calls == ["connect"]


async def test_a_refusal_is_raised_to_all_who_wait_and_leaves_nothing_behind() -> None:
    plugin = Plugin()
    plugin.refusal = NotAcceptedError("who are you?")
    results = await asyncio.gather(plugin.connect(), plugin.connect(), return_exceptions=True)
    assert results == [plugin.refusal, plugin.refusal]  # LPI-19
    assert (plugin.calls, plugin.events) == (["connect", "disconnect"], [])
    plugin.refusal = None
    await plugin.connect()
    assert plugin.is_connected()


async def test_an_attempt_that_takes_too_long_is_given_up() -> None:
    plugin = Plugin()
    plugin.ready.clear()
    with pytest.raises(UnreachableError):
        await plugin.connect(ConnectOptions(timeout=1))
    assert plugin.calls == ["connect", "disconnect"]


async def test_an_attempt_that_nobody_waits_for_any_longer_is_given_up() -> None:
    plugin = Plugin()
    plugin.ready.clear()
    waiting = asyncio.create_task(plugin.connect({"timeout": math.inf}))
    await asyncio.sleep(0.001)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    plugin.ready.set()
    await plugin.connect()
    assert plugin.is_connected()
    assert plugin.calls == ["connect", "disconnect", "connect"]


async def test_who_waits_on_is_not_harmed_by_who_does_not() -> None:
    plugin = Plugin()
    plugin.ready.clear()
    impatient, patient = (asyncio.create_task(plugin.connect()) for _ in range(2))
    await asyncio.sleep(0.001)
    impatient.cancel()
    await asyncio.sleep(0.001)
    plugin.ready.set()
    await patient
    assert plugin.calls == ["connect"]


async def test_disconnecting_ends_an_attempt() -> None:
    plugin = Plugin()
    plugin.ready.clear()
    waiting = asyncio.create_task(plugin.connect())
    await asyncio.sleep(0.001)
    await plugin.disconnect()
    with pytest.raises(UnreachableError):
        await waiting
    assert (plugin.calls, plugin.events) == (["connect", "disconnect"], [])


async def test_a_plugin_can_be_connected_after_it_was_disconnected() -> None:
    plugin = Plugin()
    await plugin.disconnect()
    async with plugin:
        assert plugin.is_connected()
    await asyncio.gather(plugin.disconnect(), plugin.disconnect())
    await plugin.connect()  # LPI-5
    assert plugin.events == ["connect True", "disconnect False", "connect True"]  # LPI-6, LPI-17, LPI-18
    assert plugin.calls == ["connect", "disconnect", "connect"]


async def test_who_connects_during_an_ending_is_connected_after_it() -> None:
    plugin = Plugin()
    await plugin.connect()
    ending = asyncio.create_task(plugin.disconnect())
    await asyncio.sleep(0)
    await plugin.connect()
    await ending
    assert plugin.is_connected()
    assert plugin.events == ["connect True", "disconnect False", "connect True"]


async def test_a_lost_connection_is_told_and_so_is_its_return() -> None:
    plugin = Plugin()
    await plugin.connect()
    plugin._went(Step.LOST)
    assert not plugin.is_connected()
    waiting = asyncio.create_task(plugin.connect())
    await asyncio.sleep(0)
    plugin._went(Step.READY)
    plugin._went(Step.READY)
    await waiting
    assert plugin.events == ["connect True", "disconnect False", "connect True"]
    plugin._went(Step.LOST)
    with pytest.raises(UnreachableError):
        await plugin.connect({"timeout": 1})
    await plugin.disconnect()
    assert plugin.events[3:] == ["disconnect False"]


async def test_an_error_ends_a_plugin_for_good() -> None:
    plugin = Plugin()
    await plugin.connect()
    error = UnreachableError("the ledger is gone for good")
    plugin._went(Step.FAIL, error)
    assert plugin.events == ["connect True", "disconnect False", f"error {error}"]  # LPI-13
    for call in (plugin.connect(), plugin.send_data(b""), plugin.send_money(1)):
        with pytest.raises(UnreachableError) as refused:
            await call
        assert refused.value is error
    with pytest.raises(UnreachableError):
        plugin.register_data_handler(lambda data: data)  # type: ignore[arg-type, return-value]
    await plugin.disconnect()
    assert not plugin.is_connected()
    assert plugin.calls == ["connect", "disconnect"]


async def test_an_error_may_end_a_plugin_while_it_connects() -> None:
    class Hopeless(Plugin):
        async def _connect(self) -> None:
            self._went(Step.FAIL, error)
            if self._opts["raises"]:
                raise error

    error = InvalidFieldsError("the scales differ")
    plugin = Plugin()
    plugin.ready.clear()
    for connecting, fails in ((Hopeless({"raises": 0}), False), (Hopeless({"raises": 1}), False), (plugin, True)):
        waiting = asyncio.create_task(connecting.connect())
        await asyncio.sleep(0.001)
        if fails:
            connecting._went(Step.FAIL, error)
        with pytest.raises(InvalidFieldsError):
            await waiting
        await connecting.disconnect()
        assert connecting.events == [f"error {error}"]
        assert connecting.calls.count("disconnect") == 1
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_plugin_is_ready_when_its_connecting_has_ended_and_not_before() -> None:
    class Hasty(Plugin):
        async def _connect(self) -> None:
            self._went(Step.READY)
            raise NotAcceptedError("but not you")

    plugin = Hasty()
    with pytest.raises(NotAcceptedError):
        await plugin.connect()
    assert plugin.events == []


async def test_letting_go_may_fail_and_the_plugin_is_disconnected_all_the_same() -> None:
    class Clumsy(Plugin):
        async def _disconnect(self) -> None:
            raise OSError("no")

    plugin = Clumsy()
    await plugin.connect()
    with pytest.raises(OSError, match="no"):
        await plugin.disconnect()
    assert plugin.events == ["connect True", "disconnect False"]


# Sending


async def test_nothing_is_sent_while_not_connected() -> None:
    plugin = Plugin()
    with pytest.raises(UnreachableError):
        await plugin.send_data(b"x")  # LPI-25
    with pytest.raises(NotConnectedError) as refused:
        await plugin.send_money(5)
    assert isinstance(refused.value, MoneyNotSentError)
    assert refused.value.name == "UnreachableError"


async def test_data_has_a_reply_and_money_an_acknowledgement() -> None:
    async with Plugin() as plugin:
        assert await plugin.send_data(bytearray(b"abc")) == b"cba"  # LPI-7
        await plugin.send_money("18446744073709551615")  # LPI-8
        await plugin.send_money(1)
        assert plugin.calls == ["connect", "money 18446744073709551615", "money 1"]


@pytest.mark.parametrize("amount", [0, -1, 2**64, "0", "-1", "1.5", "", "1e3", "18446744073709551616"])
async def test_amounts_that_nobody_can_pay(amount: int | str) -> None:
    async with Plugin() as plugin:
        with pytest.raises(InvalidAmountError) as refused:
            await plugin.send_money(amount)
    assert isinstance(refused.value, MoneyNotSentError)


@pytest.mark.parametrize("wrong", [1.0, True, None, b"1", [1]])
async def test_what_is_no_amount_is_a_type_error(wrong: Any) -> None:
    async with Plugin() as plugin:
        with pytest.raises(TypeError):
            await plugin.send_money(wrong)
        with pytest.raises(TypeError):
            await plugin.send_data("text")  # type: ignore[arg-type]


async def test_any_number_of_requests_are_in_flight_and_end_with_the_connection() -> None:
    plugin = Plugin()
    await plugin.connect()
    plugin.answers.clear()
    asking = [asyncio.create_task(plugin.send_data(bytes([number]))) for number in range(5)]  # LPI-21
    paying = asyncio.create_task(plugin.send_money(5))
    await asyncio.sleep(0.001)
    await plugin.disconnect()  # LPI-27
    for result in await asyncio.gather(*asking, paying, return_exceptions=True):
        assert type(result) is UnreachableError  # and not that no money was sent: nobody knows
    plugin.answers.set()
    await asyncio.sleep(0)
    assert plugin.calls == ["connect", "disconnect"]


async def test_requests_fail_at_the_moment_the_connection_is_lost() -> None:
    async with Plugin() as plugin:
        plugin.answers.clear()
        asking = asyncio.create_task(plugin.send_data(b"x"))
        await asyncio.sleep(0.001)
        plugin._went(Step.LOST)
        with pytest.raises(UnreachableError):
            await asking
        plugin._went(Step.READY)
        plugin.answers.set()
        assert await plugin.send_data(b"xy") == b"yx"


async def test_what_a_caller_gives_up_is_given_up() -> None:
    class Counting(Plugin):
        cancelled = 0

        async def _send_data(self, data: bytes) -> bytes:
            try:
                return await super()._send_data(data)
            except asyncio.CancelledError:
                self.cancelled += 1
                raise

    async with Counting() as plugin:
        plugin.answers.clear()
        asking = asyncio.create_task(plugin.send_data(b"x"))
        await asyncio.sleep(0.001)
        asking.cancel()  # LPI-26
        with pytest.raises(asyncio.CancelledError):
            await asking
        await asyncio.sleep(0)
        assert plugin.cancelled == 1


async def test_what_a_plugin_raises_is_raised() -> None:
    class Poor(Plugin):
        async def _send_money(self, amount: int) -> None:
            raise MoneyNotSentError(f"the channel has less than {amount}")

    async with Poor() as plugin:
        with pytest.raises(MoneyNotSentError, match="less than 5"):
            await plugin.send_money(5)


# Handlers


async def test_handlers_are_there_once_and_can_be_taken_away() -> None:
    async def data_handler(data: bytes) -> bytes:
        return data + b"!"

    async def money_handler(amount: int) -> None:
        received.append(amount)

    received: list[int] = []
    plugin = Plugin()
    plugin.register_data_handler(data_handler)  # LPI-9: before it is connected
    plugin.register_money_handler(money_handler)
    with pytest.raises(DataHandlerAlreadyRegisteredError):
        plugin.register_data_handler(data_handler)
    with pytest.raises(MoneyHandlerAlreadyRegisteredError):
        plugin.register_money_handler(money_handler)
    assert await plugin._incoming_data(b"hi") == b"hi!"
    await plugin._incoming_money(7)
    assert received == [7]
    for _ in range(2):
        plugin.deregister_data_handler()  # LPI-10
        plugin.deregister_money_handler()
    with pytest.raises(NotAcceptedError):
        await plugin._incoming_data(b"hi")  # LPI-11
    with pytest.raises(NotAcceptedError):
        await plugin._incoming_money(7)  # LPI-12
    plugin.register_data_handler(data_handler)
    for register in (plugin.register_data_handler, plugin.register_money_handler):
        with pytest.raises(TypeError):
            register("no function")  # type: ignore[arg-type]


async def test_a_money_handler_may_want_to_know_which_claim_it_is() -> None:
    told: list[Any] = []

    async def with_info(amount: int, info: Any) -> None:
        told.append((amount, info))

    handlers: tuple[Any, ...] = (with_info, told.append, lambda amount, info=None: told.append((amount, info)))
    for handler in handlers:
        plugin = Plugin()
        plugin.register_money_handler(handler)
        await plugin._incoming_money(5, {"claim": "x"})  # HA-9
    assert told == [(5, {"claim": "x"}), 5, (5, None)]


async def _do(plugin: Plugin, step: str, asked: list[asyncio.Task[None]]) -> None:
    plugin.refusal = NotAcceptedError("no") if step == "refuse" else None
    match step:
        case "connect" | "refuse":
            asked.append(asyncio.create_task(plugin.connect({"timeout": 50})))
        case "disconnect":
            asked.append(asyncio.create_task(plugin.disconnect()))
        case "lost" | "ready":
            plugin._went(Step[step.upper()])
        case "cancel" if asked:
            asked[-1].cancel()
        case "stall":
            plugin.ready.clear()
        case "go":
            plugin.ready.set()
        case _:
            await asyncio.sleep(0)


@ECONOMICAL
@given(st.lists(st.sampled_from(ORDERS), max_size=25))
def test_whatever_is_asked_for_in_whatever_order_ends_and_leaves_nothing_running(steps: list[str]) -> None:
    async def run() -> None:
        plugin = Plugin()
        asked: list[asyncio.Task[None]] = []
        for step in (*steps, "go", "ready"):
            await _do(plugin, step, asked)
        for result in await asyncio.gather(*asked, return_exceptions=True):
            assert result is None or isinstance(result, NotAcceptedError | UnreachableError | asyncio.CancelledError)
        await plugin.disconnect()
        assert plugin.events == ["connect True", "disconnect False"] * (len(plugin.events) // 2)  # LPI-17
        assert not plugin.is_connected()
        assert plugin.calls.count("connect") == plugin.calls.count("disconnect")
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())


async def test_a_handler_that_gives_no_bytes_is_an_error_and_no_reply() -> None:
    plugin = Plugin()
    plugin.register_data_handler(lambda _data: "text")  # type: ignore[arg-type, return-value]
    with pytest.raises(WrongTypeError):
        await plugin._incoming_data(b"")


async def test_a_reply_is_bytes_or_an_error() -> None:
    class Broken(Plugin):
        async def _send_data(self, data: bytes) -> bytes:
            return len(data)  # type: ignore[return-value]

    async with Broken() as plugin:
        with pytest.raises(WrongTypeError):
            await plugin.send_data(b"abc")


async def test_an_ending_waits_for_replies_that_are_owed() -> None:
    asked, answer = asyncio.Event(), asyncio.Event()

    async def slow(data: bytes) -> bytes:
        asked.set()
        await answer.wait()
        return data

    plugin = Plugin()
    plugin.register_data_handler(slow)
    await plugin.connect()
    replying = asyncio.create_task(plugin._incoming_data(b"x"))
    await asked.wait()
    ending = asyncio.create_task(plugin.disconnect())
    await asyncio.sleep(0.001)
    assert plugin.calls == ["connect"]
    with pytest.raises(NotConnectedError):
        await plugin.send_data(b"new")
    answer.set()
    await ending
    assert await replying == b"x"
    assert not plugin._connecting._owed
    assert plugin.calls == ["connect", "disconnect"]


# Events


async def test_a_listener_that_fails_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> None:
        raise RuntimeError("secret-of-the-host")

    async def broken_later() -> None:
        raise RuntimeError("secret-of-the-host")

    plugin = Plugin()
    plugin.on("connect", broken)
    plugin.on("connect", broken_later)
    told: list[str] = []
    plugin.once("connect", lambda: told.append("once"))

    @lambda listener: plugin.on("connect", listener)
    def always() -> None:
        told.append("always")

    await plugin.connect()  # LPI-18
    await asyncio.sleep(0)
    plugin._went(Step.LOST)
    plugin.off("connect", broken)
    plugin._went(Step.READY)
    await asyncio.sleep(0)
    assert told == ["once", "always", "always"]
    assert [record.levelname for record in caplog.records] == ["ERROR"] * 3
    assert "secret" not in caplog.text
    plugin.off("connect", print)
    await plugin.disconnect()


def test_there_are_three_events() -> None:
    plugin = Plugin()
    with pytest.raises(InvalidFieldsError):
        plugin.on("data", print)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        plugin.on("connect", None)  # type: ignore[type-var]


# Spellings


@pytest.mark.parametrize(("ours", "rfcs"), SPELLINGS.items())
def test_both_spellings_are_one_method(ours: str, rfcs: str) -> None:
    assert getattr(Plugin, ours) is getattr(Plugin, rfcs)


async def test_both_spellings_reach_what_a_subclass_defines() -> None:
    class Ours(Plugin):
        async def send_data(self, data: bytes) -> bytes:
            return b"ours " + await super().send_data(data)

    class Rfcs(Ours):
        async def sendData(self, data: bytes) -> bytes:  # noqa: N802 - ported
            return b"rfcs " + await super().sendData(data)  # type: ignore[misc, no-any-return]

    class Mixin:
        def isConnected(self) -> bool:  # noqa: N802 - ported
            return True

    class Mixed(Mixin, Rfcs):
        pass

    async with Rfcs() as plugin:
        assert await plugin.send_data(b"ab") == await plugin.sendData(b"ab") == b"rfcs ours ba"  # LPI-2
    assert Mixed().is_connected()
    assert Mixed().isConnected()


async def test_who_defines_the_public_methods_needs_no_others() -> None:
    class Ported(LedgerPlugin):
        async def connect(self, options: object = None) -> None:
            pass

        async def disconnect(self) -> None:
            pass

        async def sendData(self, data: bytes) -> bytes:  # noqa: N802 - ported
            return data

        async def sendMoney(self, amount: int | str) -> None:  # noqa: N802 - ported
            pass

    assert await Ported({}).send_data(b"x") == b"x"


# Options and services


@pytest.mark.parametrize("opts", [None, 5, "text", [("a", 1)]])
def test_options_are_a_mapping(opts: Any) -> None:
    class Plain(Plugin):
        def __init__(self) -> None:
            LedgerPlugin.__init__(self, opts)

    with pytest.raises(TypeError):
        Plain()


@pytest.mark.parametrize("api", [5, "text", object(), []])
def test_services_are_an_object_or_a_mapping(api: Any) -> None:
    with pytest.raises(TypeError):
        Plugin(api=api)  # LPI-16


class Careful(Plugin):
    needs_store = True


@pytest.mark.parametrize(
    ("opts", "api"),
    [
        ({}, PluginServices(store=Store())),
        ({}, {"store": Store()}),
        ({"_store": Store()}, None),
        ({"_store": object()}, {"store": Store()}),
    ],
)
async def test_a_store_comes_from_the_services_or_from_the_options(opts: Any, api: Any) -> None:
    plugin = Careful(opts, api)
    assert plugin._store is not None
    await plugin._store.put("key", "value")
    assert await plugin._store.get("key") == "value"
    await plugin._store.delete("key")
    assert await plugin._store.get("key") is None
    with pytest.raises(TypeError):
        await plugin._store.put("key", 5)  # type: ignore[arg-type]


def test_a_plugin_that_needs_a_store_is_not_made_without_one() -> None:
    for opts, api in (({}, None), ({}, {}), ({}, PluginServices()), ({"_store": 5}, None)):
        with pytest.raises(InvalidServicesError):
            Careful(opts, api)  # LPI-15


async def test_a_store_that_gives_no_text_is_none() -> None:
    class Bytes(Store):
        async def get(self, key: str) -> Any:
            return key.encode()

    plugin = Careful({"_store": Bytes()})
    assert plugin._store is not None
    with pytest.raises(InvalidServicesError):
        await plugin._store.get("key")


async def test_a_store_of_levelup_deletes_by_a_word_of_pythons() -> None:
    deleted = []
    store = type("Levelup", (), {"get": Store.get, "put": Store.put, "del": lambda _self, key: deleted.append(key)})()
    plugin = Careful({"_store": store})
    assert plugin._store is not None
    await plugin._store.delete("key")
    assert deleted == ["key"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (None, 35.0),
        ({}, 35.0),
        ({"timeout": None}, 35.0),
        ({"timeout": 0}, 35.0),
        ({"timeout": math.nan}, 35.0),
        ({"timeout": 10_000}, 10.0),
        (ConnectOptions(0.5), 0.0005),
        ({"timeout": math.inf}, None),
        ({"timeout": 10**400}, None),
    ],
)
def test_how_long_connecting_may_take(options: Any, expected: float | None) -> None:
    assert timeout_s(options) == expected


@pytest.mark.parametrize("options", [5, {"timeout": "5"}, {"timeout": True}, {"timeout": -1}, {"timeout": -math.inf}])
def test_what_is_no_time_is_a_type_error(options: Any) -> None:
    with pytest.raises(TypeError):
        timeout_s(options)


def test_the_log_of_the_host_is_used(caplog: pytest.LogCaptureFixture) -> None:
    class Javascript:
        def __init__(self) -> None:
            self.lines: list[tuple[Any, ...]] = []

        def _write(self, *args: Any) -> None:
            self.lines.append(args)

        debug = info = warn = error = _write

    javascript = Javascript()
    Plugin(api={"log": javascript})._log.trace("%s of 100%%", "5%d")
    assert javascript.lines == [("%s", "5%d of 100%")]
    log = Plugin(api={"log": javascript})._log
    for number, write in enumerate((log.trace, log.debug, log.info, log.warn, log.error)):
        write("%d", number)
    assert javascript.lines[1:] == [("%s", str(number)) for number in range(5)]
    with caplog.at_level(logging.WARNING):
        Plugin({"_log": logging.getLogger("host")})._log.warn("%d%%", 5)
    assert caplog.messages == ["5%"]
    with pytest.raises(InvalidServicesError):
        Plugin(api={"log": 5})


def test_wrong_types_are_both_kinds_of_errors() -> None:
    error = WrongTypeError("no")
    assert isinstance(error, TypeError)
    assert error.name == "TypeError"
