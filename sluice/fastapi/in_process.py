"""Crediting packages in this very process, straight to the receiver's database, as a front does."""

from __future__ import annotations

import json
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self

from shared.bus import Bus
from shared.receiving.errors import NotInitializedError, ReceivingError, UnavailableError
from shared.receiving.outcomes import Refusal
from shared.receiving.receiver import Receiver
from shared.store import payments
from shared.store.database import Database, Limits, Role
from shared.store.errors import StoreError
from sluice.fastapi.receivers import TERMS_LAST_S, Credit, NoCredit, ReceiverUnavailableError
from sluice.terms import PaidReceipt

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.receiving.prices import Price
    from shared.receiving.terms import ReceiverTerms
    from shared.settings import Settings
    from shared.strict_json import JsonValue

MAX_CONNECTIONS = 4
LIMITS = Limits(acquire_s=3.0, lock_s=1.0)
MIN_SECRET = 16


class InProcessReceiver:
    """The receiver of these settings, without a front in between. It needs the fronts' access to the database.

    `secret` (16 characters or more) must be the same in all processes of the application: what a package has bought is
    sealed with it.
    """

    def __init__(self, settings: Settings, *, secret: str, clock: Callable[[], float] = time.monotonic) -> None:
        if len(secret) < MIN_SECRET:
            raise ValueError(f"secret must have at least {MIN_SECRET} characters")
        self.secret = secret.encode()
        self._settings = settings
        self._clock = clock
        self._stack = AsyncExitStack()
        self._open: tuple[Database, Receiver] | None = None
        self._terms: tuple[float, ReceiverTerms] | None = None

    async def __aenter__(self) -> Self:
        """Connect; a database that is away is connected to later."""
        settings = self._settings
        async with AsyncExitStack() as stack:
            bus = Bus(None if settings.redis_url is None else settings.redis_url.get_secret_value())
            stack.push_async_callback(bus.close)
            database = await Database.connect(
                settings.database_dsn,
                role=Role.FRONT,
                max_connections=MAX_CONNECTIONS,
                limits=LIMITS,
                behind_transaction_pooler=settings.database_pooler,
            )
            stack.push_async_callback(database.close)
            receiver = Receiver(database, settings, bus)
            stack.push_async_callback(receiver.close)
            self._open = database, receiver
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Finish the packages that wait, and disconnect."""
        self._open = None
        await self._stack.aclose()

    async def terms(self) -> ReceiverTerms:
        """See PackageReceiver."""
        if self._terms is None or self._clock() >= self._terms[0] + TERMS_LAST_S:
            try:
                self._terms = self._clock(), await self._parts[1].terms()
            except (NotInitializedError, UnavailableError) as error:
                raise _unavailable(error) from error
        return self._terms[1]

    async def credit(self, package: dict[str, JsonValue], message: JsonValue, price: Price) -> Credit | NoCredit:
        """See PackageReceiver."""
        try:
            outcome = await self._parts[1].receive(package, message, price=price)
        except (NotInitializedError, UnavailableError) as error:
            raise _unavailable(error) from error
        except ReceivingError as error:
            return NoCredit(error.code, error.text)
        if isinstance(outcome, Refusal):
            return NoCredit(
                outcome.code, outcome.text, None if outcome.channel is None else {**outcome.channel.as_json()}
            )
        return Credit(PaidReceipt.of(outcome.as_json()), _decoded(outcome.message), _decoded(outcome.response))

    async def keep(self, payment_id: int, answer: JsonValue) -> JsonValue:
        """See PackageReceiver."""
        text = json.dumps(answer, separators=(",", ":"), ensure_ascii=False)
        try:
            async with self._parts[0].connection() as conn:
                return _decoded(await payments.keep_response(conn, payment_id, text))
        except StoreError as error:
            raise ReceiverUnavailableError(str(error)) from error

    @property
    def _parts(self) -> tuple[Database, Receiver]:
        if self._open is None:
            raise ReceiverUnavailableError("the application has not started its receiver")
        return self._open


def _decoded(text: str | None) -> JsonValue:
    value: JsonValue = None if text is None else json.loads(text)
    return value


def _unavailable(error: ReceivingError) -> ReceiverUnavailableError:
    retry_after_s = error.retry_after_s if isinstance(error, UnavailableError) else 5
    return ReceiverUnavailableError(error.text, retry_after_s=retry_after_s)
