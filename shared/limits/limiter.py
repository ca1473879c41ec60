"""The buckets of one process: decides from memory, at once, and tells the others in the background.

Four times a second what was let through here is added to the shared account of its bucket, and how full that one is
becomes how full ours is at least. Between two tellings the processes do not know of each other: together they may let
through what each of them does in a quarter of a second beyond the limit, and pay for it afterwards. A bucket that is
used for less than an eighth of its rate here is not worth telling: up to eight processes keep to a limit exactly in the
long run, more of them to as many eighths. While Redis is away each process keeps to the limit alone.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from shared.limits.accounts import AccountsAwayError, Use
from shared.limits.buckets import Bucket, Limit

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.limits.accounts import Accounts

SHARE_S = 0.25
MAX_BUCKETS = 20_000
"""Buckets of one limit in one process. With more, those that were begun first are forgotten."""
_WORTH_SHARING = 0.125


class Limiter:
    """All limits of one process. Without `accounts` it is the only one."""

    def __init__(
        self,
        accounts: Accounts | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        share_s: float = SHARE_S,
        max_buckets: int = MAX_BUCKETS,
    ) -> None:
        self._accounts = accounts
        self._clock = clock
        self._share_s = share_s
        self._max_buckets = max_buckets
        self._buckets: dict[str, OrderedDict[str, Bucket]] = {}
        self._used: dict[tuple[str, str], tuple[Limit, Bucket]] = {}

    def take(self, limit: Limit, who: str) -> float:
        """Count one use if it fits and return 0; else return how long to wait, in seconds."""
        if not limit.is_on:
            return 0.0
        now_s = self._clock()
        bucket = self._bucket(limit, who)
        wait_s = bucket.wait_s(limit, now_s)
        if wait_s == 0:
            self._fill(limit, who, bucket, now_s)
        return wait_s

    def wait_s(self, limit: Limit, who: str) -> float:
        """How long until one more fits, without counting anything; 0: it does now."""
        buckets = self._buckets.get(limit.name)
        bucket = None if buckets is None else buckets.get(who)
        return 0.0 if bucket is None else bucket.wait_s(limit, self._clock())

    def count(self, limit: Limit, who: str) -> None:
        """Count one use that has happened, whether it fits or not."""
        if limit.is_on:
            self._fill(limit, who, self._bucket(limit, who), self._clock())

    async def take_surely(self, limit: Limit, who: str) -> float:
        """Like `take`, by the shared account: exact over all processes. Raises AccountsAwayError when there is none."""
        if not limit.is_on:
            return 0.0
        if self._accounts is None:
            return self.take(limit, who)
        return await self._accounts.take(limit, who)

    async def run(self) -> None:
        """Tell the other processes, and hear of them. Runs forever."""
        while True:
            await asyncio.sleep(self._share_s)
            await self.share()

    async def share(self) -> None:
        """Tell what was used since the last time, and take over how full the shared buckets are."""
        used, self._used = self._used, {}
        if not used or self._accounts is None:
            return
        uses = []
        for (_, who), (limit, bucket) in used.items():
            count, bucket.unshared = bucket.unshared, 0
            if count >= _WORTH_SHARING * self._share_s / limit.one_s:
                uses.append(Use(limit, who, count))
        if not uses:
            return
        try:
            drains_s = await self._accounts.add(uses)
        except AccountsAwayError:
            return
        now_s = self._clock()
        for use, drain_s in zip(uses, drains_s, strict=True):
            _, bucket = used[use.limit.name, use.who]
            # What was let through while Redis was being asked is in no account yet; what was not worth telling is ours.
            bucket.drained_s = max(bucket.drained_s, now_s + drain_s + bucket.unshared * use.limit.one_s)

    async def close(self) -> None:
        """Share no more."""
        if self._accounts is not None:
            await self._accounts.close()

    def _fill(self, limit: Limit, who: str, bucket: Bucket, now_s: float) -> None:
        bucket.fill(limit, now_s)
        if bucket.unshared == 1:
            self._used[limit.name, who] = limit, bucket

    def _bucket(self, limit: Limit, who: str) -> Bucket:
        buckets = self._buckets.get(limit.name)
        if buckets is None:
            buckets = self._buckets[limit.name] = OrderedDict()
        bucket = buckets.get(who)
        if bucket is None:
            if len(buckets) >= self._max_buckets:
                self._make_room(buckets)
            bucket = buckets[who] = Bucket()
        return bucket

    def _make_room(self, buckets: OrderedDict[str, Bucket]) -> None:
        """Forget what is empty again; if nothing is, the eighth that was begun first."""
        now_s = self._clock()
        empty = [who for who, bucket in buckets.items() if bucket.drained_s <= now_s]
        for who in empty or list(buckets)[: max(1, self._max_buckets // 8)]:
            del buckets[who]
