"""Redis between processes: event fan-out, and the doorbell of the command queue.

Everything here is a hint. The truth is in Postgres, every reader also polls, and so losing Redis loses nothing but
time: publishing never raises and never waits, subscribers simply hear nothing until the connection is back.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import secrets
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from celery import Celery
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from types import TracebackType

    from redis.asyncio.client import PubSub

logger = logging.getLogger(__name__)

CHANNEL_CHANGED = "channel_changed"
"""{aa_address}: the channel's row or its peer's units changed, or it is new and must be watched."""
PAYMENT = "payment"
"""{payment_id, aa_address, amount, asset, period}: a payment was committed."""
COMMAND = "command"
"""{id}: a command was queued or has changed."""
EVENT = "event"
"""{}: something was committed to the stream of events of which no other topic tells."""
LEASE = "lease"
"""{name}: a lease was given up; who stands by may have it now."""

OUTGOING_LIMIT = 10_000
SUBSCRIPTION_LIMIT = 10_000
_CONNECT_TIMEOUT_S = 2.0
_ANSWER_TIMEOUT_S = 5.0
_SILENCE_S = 15.0
_MESSAGE_LIMIT = 500
_FIRST_RETRY_S = 0.1
_LONGEST_RETRY_S = 5.0
_PREFIX = "sluice:"


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened: `topic` is one of the names above, `body` a small JSON object."""

    topic: str
    body: dict[str, Any]


class Subscription:
    """Events of some topics, oldest first: an async iterator that ends when it is closed.

    A reader that falls behind loses the oldest events, and `missed` counts them.
    """

    def __init__(self, bus: Bus, topics: tuple[str, ...], limit: int) -> None:
        self.topics = topics
        self.missed = 0
        self._bus = bus
        self._events: deque[Event] = deque(maxlen=limit)
        self._arrived = asyncio.Event()
        self._closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while not self._events:
            if self._closed:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        return self._events.popleft()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hear nothing more; whoever waits for the next event stops waiting."""
        self._closed = True
        self._arrived.set()
        self._bus.forget(self)

    def deliver(self, event: Event) -> None:
        """Take one event of the bus."""
        if len(self._events) == self._events.maxlen:
            self.missed += 1
        self._events.append(event)
        self._arrived.set()


class Bus:
    """Event fan-out over Redis, belonging to one event loop; without a URL it reaches its own process only.

    Own subscribers hear an event at once, other processes through Redis. Nothing is connected before it is needed.
    """

    def __init__(self, redis_url: str | None) -> None:
        self._redis = _connect(redis_url) if redis_url is not None else None
        self._origin = secrets.token_hex(8)
        self._subscriptions: set[Subscription] = set()
        self._outgoing: deque[Event] = deque(maxlen=OUTGOING_LIMIT)
        self._has_outgoing = asyncio.Event()
        self._sender: asyncio.Task[None] | None = None
        self._listeners: dict[str, asyncio.Task[None]] = {}
        self._listening: set[str] = set()

    def publish(self, topic: str, body: Mapping[str, Any]) -> None:
        """Tell everyone who listens. Never waits, never raises for want of Redis; when behind, drops the oldest."""
        event = Event(topic, dict(body))
        self._deliver(event)
        if self._redis is None:
            return
        self._outgoing.append(event)
        self._has_outgoing.set()
        if self._sender is None:
            self._sender = asyncio.create_task(self._send_all(self._redis), name="bus-sender")

    def subscribe(self, *topics: str, limit: int = SUBSCRIPTION_LIMIT) -> Subscription:
        """Hear the events of these topics from now on, until the subscription is closed (it is a context manager)."""
        subscription = Subscription(self, topics, limit)
        self._subscriptions.add(subscription)
        if self._redis is not None:
            for topic in topics:
                if topic not in self._listeners:
                    listener = self._listen(self._redis, topic)
                    self._listeners[topic] = asyncio.create_task(listener, name=f"bus-{topic}")
        return subscription

    def hears(self, topic: str) -> bool:
        """Whether events of other processes arrive now; if not, poll faster."""
        return topic in self._listening

    def forget(self, subscription: Subscription) -> None:
        """Stop delivering to a subscription; its `close` calls this."""
        self._subscriptions.discard(subscription)

    async def close(self) -> None:
        """End all subscriptions and connections; what was published and not sent yet gets one last chance."""
        for subscription in tuple(self._subscriptions):
            subscription.close()
        tasks = [task for task in (self._sender, *self._listeners.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._redis is not None:
            with contextlib.suppress(RedisError, OSError, TimeoutError):
                async with asyncio.timeout(1):
                    await self._send_waiting(self._redis)
            with contextlib.suppress(RedisError, OSError):
                await self._redis.aclose()

    def _deliver(self, event: Event) -> None:
        for subscription in self._subscriptions:
            if event.topic in subscription.topics:
                subscription.deliver(event)

    async def _send_all(self, redis: Redis) -> None:
        retry_s = _FIRST_RETRY_S
        while True:
            await self._has_outgoing.wait()
            try:
                await self._send_waiting(redis)
                retry_s = _FIRST_RETRY_S
            except (RedisError, OSError) as error:
                if retry_s == _FIRST_RETRY_S:
                    logger.warning("events cannot be published: %s", type(error).__name__)
                await asyncio.sleep(retry_s)
                retry_s = min(2 * retry_s, _LONGEST_RETRY_S)

    async def _send_waiting(self, redis: Redis) -> None:
        while self._outgoing:
            batch = tuple(itertools.islice(self._outgoing, _MESSAGE_LIMIT))
            by_topic: dict[str, list[dict[str, Any]]] = {}
            for event in batch:
                by_topic.setdefault(event.topic, []).append(event.body)
            for topic, bodies in by_topic.items():
                message = json.dumps({"origin": self._origin, "bodies": bodies})
                async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                    await redis.publish(_PREFIX + topic, message)
            # Whatever was pushed out by newer events meanwhile is gone from the left already.
            sent = set(map(id, batch))
            while self._outgoing and id(self._outgoing[0]) in sent:
                self._outgoing.popleft()
        self._has_outgoing.clear()

    async def _listen(self, redis: Redis, topic: str) -> None:
        retry_s = _FIRST_RETRY_S
        while True:
            try:
                async with redis.pubsub() as pubsub:
                    await pubsub.subscribe(_PREFIX + topic)
                    async for message in _messages(pubsub):
                        retry_s = _FIRST_RETRY_S
                        if message["type"] == "subscribe":
                            self._listening.add(topic)
                        elif message["type"] == "message":
                            self._receive(topic, message["data"])
            except (RedisError, OSError) as error:
                if retry_s == _FIRST_RETRY_S:
                    logger.warning("no events of topic %s: %s", topic, type(error).__name__)
            self._listening.discard(topic)
            await asyncio.sleep(retry_s)
            retry_s = min(2 * retry_s, _LONGEST_RETRY_S)

    def _receive(self, topic: str, data: bytes) -> None:
        try:
            message = json.loads(data)
            origin, bodies = message["origin"], [dict(body) for body in message["bodies"]]
        except (ValueError, TypeError, KeyError):
            logger.warning("a message of topic %s is malformed", topic)
            return
        if origin != self._origin:
            for body in bodies:
                self._deliver(Event(topic, body))


class Doorbell:
    """Wakes the worker for a task by its name, through the Celery broker; unheard rings are harmless.

    The command's row is the order, this is only the bell: a worker finds the row on its next round anyway.
    """

    def __init__(self, broker_url: str | None) -> None:
        self._celery: Celery | None = None
        if broker_url is not None:
            self._celery = Celery("sluice", broker=broker_url, set_as_current=False)
            self._celery.conf.update(
                broker_connection_timeout=_CONNECT_TIMEOUT_S,
                broker_transport_options={
                    "socket_connect_timeout": _CONNECT_TIMEOUT_S,
                    "socket_timeout": _CONNECT_TIMEOUT_S,
                },
            )

    async def ring(self, task_name: str, *args: Any) -> bool:
        """Ask for the task once, with JSON arguments; False if the broker could not be told. Never raises for that."""
        if self._celery is None:
            return False
        try:
            await asyncio.to_thread(self._celery.send_task, task_name, args=args, retry=False, ignore_result=True)
        except Exception as error:  # noqa: BLE001 - brokers raise their own kinds, and a bell must not break the house
            logger.warning("the worker could not be called for %s: %s", task_name, type(error).__name__)
            return False
        return True

    async def close(self) -> None:
        """Give the broker's connections back."""
        if self._celery is not None:
            await asyncio.to_thread(self._celery.close)


async def _messages(pubsub: PubSub) -> AsyncIterator[dict[str, Any]]:
    """Yield what Redis pushes; a silent connection is asked for a sign of life, and given up without one."""
    asked = False
    while True:
        message = await pubsub.get_message(timeout=_SILENCE_S)
        if message is not None:
            asked = False
            yield message
        elif asked:
            raise ConnectionError("Redis does not answer")
        else:
            asked = True
            await pubsub.ping()


def _connect(url: str) -> Redis:
    # A listener waits for as long as nothing happens: the client's default read timeout would end it. Retries are ours.
    return Redis.from_url(
        url, socket_timeout=None, socket_connect_timeout=_CONNECT_TIMEOUT_S, retry=Retry(NoBackoff(), 0)
    )
