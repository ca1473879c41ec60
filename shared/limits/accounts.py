"""What all processes together have let through, in Redis: one number for each bucket, changed by one script.

Nobody waits for Redis for long. When it does not answer in time it counts as away, and is asked again only after a
pause: until then whoever asks is told so at once. Losing what it holds empties all buckets, and nothing worse.

A library would ask Redis for each use, in the way of a payment; here the uses of a quarter of a second, of all buckets,
are one request beside them. What is left to write is this script.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from shared.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shared.limits.buckets import Limit

logger = get_logger(__name__)

ANSWER_S = 0.25
"""A Redis that takes longer is as good as away."""
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 5.0
_PREFIX = "sluice:limit:"
_CHUNK = 500
_MICRO = 1_000_000

# For each bucket how much to add, and how full it may be then (-1: add it whatever comes of it); in microseconds.
# Answers how long each takes to drain; below zero: it was full, nothing was added, and so long is to be waited.
_SCRIPT = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local answers = {}
for i, key in ipairs(KEYS) do
  local added, most = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local drained = math.max(tonumber(redis.call('GET', key) or 0), now) + added
  if most >= 0 and drained - now > most then
    answers[i] = now + most - drained
  else
    redis.call('SET', key, string.format('%.0f', drained), 'PX', math.ceil((drained - now) / 1000) + 1)
    answers[i] = drained - now
  end
end
return answers
"""
_DIGEST = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()


class AccountsAwayError(Exception):
    """Redis does not answer, or not in time."""

    code = "limits_unavailable"


@dataclass(frozen=True, slots=True)
class Use:
    """What one bucket was used for, `count` times."""

    limit: Limit
    who: str
    count: int


class Accounts:
    """The shared buckets, belonging to one event loop. Nothing is connected before it is needed."""

    def __init__(self, redis_url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis = Redis.from_url(
            redis_url,
            socket_timeout=ANSWER_S,
            socket_connect_timeout=ANSWER_S,
            retry=Retry(NoBackoff(), 0),
            max_connections=16,
        )
        self._clock = clock
        self._away_until_s = 0.0
        self._pause_s = FIRST_PAUSE_S
        self._is_away = False

    @property
    def is_away(self) -> bool:
        """Whether it is no use to ask now."""
        return self._clock() < self._away_until_s

    async def add(self, uses: Sequence[Use]) -> list[float]:
        """Count uses that were let through; return how long each bucket takes to drain, in seconds.

        Raises AccountsAwayError.
        """
        drains: list[float] = []
        for start in range(0, len(uses), _CHUNK):
            answers = await self._run([(use, -1) for use in uses[start : start + _CHUNK]])
            drains += [answer / _MICRO for answer in answers]
        return drains

    async def take(self, limit: Limit, who: str) -> float:
        """Count one use if it fits and return 0; else return how long to wait, in seconds. Raises AccountsAwayError."""
        [answer] = await self._run([(Use(limit, who, 1), round(limit.full_s * _MICRO) + 1)])
        return max(0.0, -answer / _MICRO)

    async def close(self) -> None:
        """Give the connections back."""
        try:
            async with asyncio.timeout(1):
                await self._redis.aclose()
        except (RedisError, OSError, TimeoutError):
            pass

    async def _run(self, uses: Sequence[tuple[Use, int]]) -> list[int]:
        if self.is_away:
            raise AccountsAwayError("Redis is away")
        keys = [f"{_PREFIX}{use.limit.name}:{use.who}" for use, _ in uses]
        arguments = [number for use, most in uses for number in (math.ceil(use.limit.one_s * use.count * _MICRO), most)]
        try:
            async with asyncio.timeout(2 * ANSWER_S):
                answers = await self._evaluate(keys, arguments)
        except (RedisError, OSError, TimeoutError) as error:
            self._gone(error)
            raise AccountsAwayError("Redis is away") from error
        if self._is_away:
            logger.info("limits_shared_again")
        self._is_away = False
        self._pause_s = FIRST_PAUSE_S
        return answers

    async def _evaluate(self, keys: list[str], arguments: list[int]) -> list[int]:
        given: list[Any] = [*keys, *arguments]
        try:
            answers = await self._redis.evalsha(_DIGEST, len(keys), *given)
        except NoScriptError:
            answers = await self._redis.eval(_SCRIPT, len(keys), *given)
        return [int(answer) for answer in answers]

    def _gone(self, error: Exception) -> None:
        if not self._is_away:
            logger.warning("limits_not_shared", reason=type(error).__name__)
            self._is_away = True
        self._away_until_s = self._clock() + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
