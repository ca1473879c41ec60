"""Who may come in, and how often: API keys and limits of one front, and what runs beside the requests for them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from front.authentication import ApiKeys
from front.limits import AddressLimits, KeyLimits
from shared.limits.accounts import Accounts
from shared.limits.limiter import Limiter
from shared.receiving.limits import PaymentLimits
from shared.store.key_news import KeyNews

if TYPE_CHECKING:
    from starlette.datastructures import State

    from shared.settings import Settings
    from shared.store.database import Database


class Gate:
    """Opened when the front starts, closed before its database is."""

    def __init__(self, settings: Settings, database: Database) -> None:
        redis_url = settings.redis_url
        accounts = None if redis_url is None else Accounts(redis_url.get_secret_value())
        self._limiter = Limiter(accounts)
        self.payment_limits = PaymentLimits.of(settings, self._limiter)
        self.address_limits = AddressLimits.of(settings, self._limiter)
        self.api_keys = ApiKeys(database, limits=KeyLimits.of(settings, self._limiter))
        self._news = self.api_keys.news = KeyNews(settings.direct_dsn, self.api_keys.forget)
        self._tasks: list[asyncio.Task[None]] = []

    def open(self, state: State) -> None:
        """Give the doors what they ask; begin to hear of keys that change, and to share what was used."""
        state.api_keys = self.api_keys
        state.address_limits = self.address_limits
        self._tasks = [
            asyncio.create_task(self._news.run(), name="key-news"),
            asyncio.create_task(self._limiter.run(), name="limits-shared"),
        ]

    async def close(self) -> None:
        """End what runs beside the requests."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.api_keys.close()
        await self._limiter.close()
