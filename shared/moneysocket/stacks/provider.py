"""The stack of a provider: says who it is, makes invoices and pays them, for whoever holds its beacons.

| in the libraries                                      | here                                              |
|-------------------------------------------------------|---------------------------------------------------|
| `handleproviderinforequest`                           | `info(seed)`, given at the start                  |
| `provider_now_ready_from_app`, `notify_provider_info` | `inform(seeds)`                                   |
| `handleinvoicerequest`, then `notify_invoice`         | `make_invoice`, which returns it                  |
| `handlepayrequest`, then `notify_preimage`            | `pay`, which returns the preimage                 |
| `notify_error`, `sendErrorNotification`               | what those two raise: `RequestRefusedError`       |
| the two halves apart                                  | `on(InvoiceWanted, ...)`, `on(PaymentWanted, ...)` |
|                                                       | and `notify_invoice`, `_preimage`, `_error`       |

Of several connections with one seed (a door and a relay, say) each is told. Without `seeds` everybody is.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, TypeAlias

from shared.moneysocket.errors import MoneysocketError
from shared.moneysocket.events import Event, InvoiceWanted, LayerChanged, LayerStatus, PaymentWanted
from shared.moneysocket.provider import ProviderInfo, ProviderNexus
from shared.moneysocket.session import ProviderSession
from shared.moneysocket.stacks.connection import Connection
from shared.moneysocket.stacks.stack import Stack, no_layers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from shared.moneysocket.nexus import Nexus
    from shared.moneysocket.replay import ReplayGuard
    from shared.moneysocket.seeds import SharedSeed
    from shared.moneysocket.session import Options
    from shared.moneysocket.stacks.wires import Wires

NO_INVOICES = "invoices are not made here"
NO_PAYMENTS = "payments are not made here"
NO_INVOICE = "the invoice could not be made"
TOO_MANY = "too many requests"

_Wanted: TypeAlias = InvoiceWanted | PaymentWanted

logger = logging.getLogger(__name__)


class RequestRefusedError(MoneysocketError):
    """Raised by `make_invoice` or `pay`: the text is told to the consumer."""

    def __init__(self, text: str) -> None:
        """Take a text for people."""
        super().__init__("request_refused", text)


class ProviderConnection(Connection[ProviderSession]):
    """A provider's connection."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.working: int = 0
        """How many requests are being worked on."""

    def inform(self, info: ProviderInfo | None) -> None:
        """Be ready, or tell of a new balance; None: not ready for those who ask from now on."""
        if self.session is not None:
            self.session.inform(info, self._clock())
            self.pump()

    def notify_invoice(self, bolt11: str, reference: str | None = None) -> None:
        """Answer `InvoiceWanted`. Raises ProtocolError `not_announced`, `bad_order`."""
        self.usable().notify_invoice(bolt11, self._clock(), reference)
        self.pump()

    def notify_preimage(self, preimage: str, reference: str | None = None) -> None:
        """Answer `PaymentWanted`, or tell of a payment that came in. Raises ProtocolError as `notify_invoice`."""
        self.usable().notify_preimage(preimage, self._clock(), reference)
        self.pump()

    def notify_error(self, text: str, reference: str | None = None) -> None:
        """Answer either with a text for people. Raises ProtocolError `not_announced`."""
        self.usable().notify_error(text, self._clock(), reference)
        self.pump()


class ProviderStack(Stack[ProviderConnection]):
    """Any number of applications, dialled or dialling, and both at once.

    `info(seed)` is asked when somebody comes and by `inform`; None means: not ready yet. `make_invoice` and `pay` get
    the request and return invoice or preimage; at most `max_open_requests` of them run for one connection. If `pay`
    fails otherwise than by RequestRefusedError, nothing is answered: the payment may have happened.
    """

    def __init__(
        self,
        info: Callable[[SharedSeed], ProviderInfo | None],
        wires: Wires | None = None,
        *,
        make_invoice: Callable[[ProviderConnection, InvoiceWanted], Awaitable[str]] | None = None,
        pay: Callable[[ProviderConnection, PaymentWanted], Awaitable[str]] | None = None,
        extra: Callable[[], tuple[Nexus, ...]] = no_layers,
        between: Callable[[], tuple[Nexus, ...]] = no_layers,
    ) -> None:
        super().__init__(wires, extra=extra, between=between)
        self._info = info
        self._make_invoice = make_invoice
        self._pay = pay
        self._tasks: set[asyncio.Task[None]] = set()

    def inform(self, seeds: Collection[SharedSeed] | None = None) -> None:
        """Have everybody told what `info` says now: that it is ready, or the new balance."""
        for connection in self._chosen(seeds):
            connection.inform(self._ask(connection.seed))

    def notify_invoice(
        self, bolt11: str, reference: str | None = None, seeds: Collection[SharedSeed] | None = None
    ) -> int:
        """Answer `InvoiceWanted` on every connection that is announced; returns how many.

        Raises ProtocolError `bad_order`.
        """
        return self._tell(seeds, ProviderConnection.notify_invoice, bolt11, reference)

    def notify_preimage(
        self, preimage: str, reference: str | None = None, seeds: Collection[SharedSeed] | None = None
    ) -> int:
        """Answer `PaymentWanted`, or tell of a payment that came in, and of the balance after it; returns to how many.

        Raises ProtocolError `bad_order`.
        """
        told = self._tell(seeds, ProviderConnection.notify_preimage, preimage, reference)
        self.inform(seeds)
        return told

    def notify_error(self, text: str, reference: str | None = None, seeds: Collection[SharedSeed] | None = None) -> int:
        """Answer either with a text for people; returns how many were told."""
        return self._tell(seeds, ProviderConnection.notify_error, text, reference)

    async def close(self) -> None:
        """Close everything. Requests that are being worked on are cancelled."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await super().close()

    def _connection(self, seed: SharedSeed, guard: ReplayGuard) -> ProviderConnection:
        return ProviderConnection(seed, guard, self.wires.clock)

    def _session(self, connection: ProviderConnection, options: Options) -> ProviderSession:
        return ProviderSession(connection.seed, None, **options)

    def _notice(self, connection: ProviderConnection, event: Event) -> None:
        match event:
            case LayerChanged(layer=ProviderNexus.LAYER, status=LayerStatus.CREATED):
                connection.inform(self._ask(connection.seed))
            case InvoiceWanted() if self._make_invoice is not None:
                self._begin(connection, event, self._make_invoice)
            case PaymentWanted() if self._pay is not None:
                self._begin(connection, event, self._pay)
            case InvoiceWanted() | PaymentWanted() if type(event) not in self._handlers:
                text = NO_INVOICES if isinstance(event, InvoiceWanted) else NO_PAYMENTS
                self.notify_error(text, event.request_uuid, [connection.seed])
            case _:
                pass

    def _begin(
        self, connection: ProviderConnection, wanted: _Wanted, work: Callable[[ProviderConnection, Any], Awaitable[str]]
    ) -> None:
        if connection.working >= self.wires.limits.max_open_requests:  # those that have expired may still be at work
            self.notify_error(TOO_MANY, wanted.request_uuid, [connection.seed])
            return
        connection.working += 1
        task = asyncio.create_task(self._work(connection, wanted, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(
        self, connection: ProviderConnection, wanted: _Wanted, work: Callable[[ProviderConnection, Any], Awaitable[str]]
    ) -> None:
        reference, seeds = wanted.request_uuid, [connection.seed]
        try:
            answer = await work(connection, wanted)
            notify = self.notify_invoice if isinstance(wanted, InvoiceWanted) else self.notify_preimage
            if not notify(answer, reference, seeds):
                logger.warning("nobody was there to hear the answer to request %s", reference)
        except RequestRefusedError as error:
            self.notify_error(error.text, reference, seeds)
        except Exception:
            logger.exception("a request could not be worked on: %s", type(wanted).__name__)
            if isinstance(wanted, InvoiceWanted):
                self.notify_error(NO_INVOICE, reference, seeds)
        finally:
            connection.working -= 1

    def _ask(self, seed: SharedSeed) -> ProviderInfo | None:
        try:
            return self._info(seed)
        except Exception:
            logger.exception("the provider's info could not be had")
            return None

    def _chosen(self, seeds: Collection[SharedSeed] | None) -> list[ProviderConnection]:
        return [connection for connection in self.connections if seeds is None or connection.seed in seeds]

    def _tell(
        self,
        seeds: Collection[SharedSeed] | None,
        notify: Callable[[ProviderConnection, str, str | None], None],
        value: str,
        reference: str | None,
    ) -> int:
        told = [connection for connection in self._chosen(seeds) if connection.is_announced]
        for connection in told:
            notify(connection, value, reference)
        return len(told)
