"""BtpPlugin: one account with one peer over BTP 2.0, as a client, as a listener, or as both (ilp-plugin-btp's ways).

    role      the connection                                       when it is gone
    --------  ---------------------------------------------------  ------------------------------------------------
    client    dials until it is let in or `connect` gives up;      dials again, by `btp.reconnecting`, for ever
              who is refused for good is told at once
    listener  the newest socket that knows the secret; the one     waits for the next one
              before it is closed (4001)

With both the client's connection is used as long as there is one. BTP itself proves no money: `send_money` sends a
TRANSFER without a claim, and what comes in is refused. Who carries claims overrides `_send_money` and
`_handle_transfer`.
"""

from __future__ import annotations

import asyncio
import hmac
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from websockets.exceptions import ConnectionClosed

from shared.interledger.btp.reconnecting import Reconnecting
from shared.interledger.btp.refusals import may_be_retried
from shared.interledger.btp_plugin.link import Link, Owner
from shared.interledger.btp_plugin.options import read_btp_options
from shared.interledger.btp_plugin.sockets import Guest, dial, listen
from shared.interledger.btp_plugin.surroundings import Surroundings
from shared.interledger.btp_plugin.workers import Workers
from shared.interledger.plugin.base import LedgerPlugin
from shared.interledger.plugin.errors import (
    InvalidFieldsError,
    LedgerPluginError,
    NotAcceptedError,
    NotConnectedError,
    UnreachableError,
)
from shared.interledger.plugin.life import Step
from shared.interledger.plugin.options import ConnectOptions, timeout_s

if TYPE_CHECKING:
    from collections.abc import Mapping

    from websockets.asyncio.server import Server

    from shared.interledger.btp.addresses import BtpAddress
    from shared.interledger.btp.frames import Entries
    from shared.interledger.btp.login import Login
    from shared.interledger.plugin.options import PluginServices

_FOR_EVER = ConnectOptions(timeout=float("inf"))
_GOING_AWAY = frozenset({1001, 1006, 1011, 1012, 1013})
"""Close codes of a server that will be back: going away, cut off, in trouble, restarting, busy."""


class BtpPlugin(LedgerPlugin):
    """One account over BTP. `options` has the table of `opts`; raises InvalidFieldsError for what contradicts it."""

    reads: ClassVar[frozenset[str]] = frozenset()
    """Names of messages that `_handle_message` answers; others get an empty answer (BTP-17)."""

    def __init__(
        self,
        opts: Mapping[str, Any],
        api: PluginServices | Mapping[str, Any] | None = None,
        *,
        surroundings: Surroundings | None = None,
    ) -> None:
        super().__init__(opts, api)
        self._options = read_btp_options(self._opts)
        self._surroundings = surroundings or Surroundings()
        self._workers = Workers()
        self._owner = Owner(
            judge=self._judge,
            opened=self._opened,
            on_data=self._incoming_data,
            on_message=self._handle_message,
            on_transfer=self._handle_transfer,
            reads=self.reads,
            limits=self._options.limits,
            workers=self._workers,
            utc=self._surroundings.utc,
            log=self._log,
        )
        self._server: Server | None = None
        self._dialling: asyncio.Task[None] | None = None
        self._listening: asyncio.Task[None] | None = None
        self._until_peer: asyncio.Task[None] | None = None
        self._listens: asyncio.Future[None] | None = None
        self._coming: asyncio.Future[None] | None = None
        self._dialled: Link | None = None
        self._guest: Link | None = None

    @property
    def port(self) -> int | None:
        """The port that is listened on, None if none is."""
        sockets = () if self._server is None else self._server.sockets
        return next((int(socket.getsockname()[1]) for socket in sockets), None)

    async def connect(self, options: ConnectOptions | Mapping[str, Any] | None = None) -> None:
        """Return when the peer is there; a listener with `waitForPeer: false` returns once it listens (LPI-19).

        Raises NotAcceptedError if the peer refuses our credentials, InvalidFieldsError if there is neither `server` nor
        `listener`, UnreachableError if it has taken too long or the port cannot be listened on.
        """
        if self._options.waits_for_peer or self._options.listener is None:
            await super().connect(options)
            return
        limit_s = timeout_s(options)
        self._connecting.refuse_if_failed()
        if self._listening is None or (self._listening.done() and self._listening.exception() is not None):
            self._listening = asyncio.create_task(self._listen())
        try:
            async with asyncio.timeout(limit_s):
                await asyncio.shield(self._listening)
        except TimeoutError:
            raise UnreachableError("not listening in time") from None

    async def disconnect(self) -> None:
        """Stop everything, and return when it has stopped; `connect` works again afterwards (LPI-5)."""
        self._listening = None
        await super().disconnect()

    # What a plugin with claims overrides

    async def _send_money(self, amount: int) -> None:
        await self._pay(amount, ())

    async def _handle_transfer(self, amount: int, entries: Entries) -> Entries:  # noqa: ARG002 - for who overrides it
        """Take money; return the entries of the answer. Whatever is raised becomes a refusal."""
        raise NotAcceptedError("money is not taken here: nothing would prove it")

    async def _handle_message(self, name: str, entries: Entries) -> Entries:  # noqa: ARG002 - for who overrides it
        """Answer a message whose first entry has one of the names in `reads`."""
        return ()

    def _peer_came(self) -> None:
        """Do what is to be done at the beginning of every connection."""

    # What it calls

    async def _send_data(self, data: bytes) -> bytes:
        return await self._link().ask_data(data)

    async def _ask(self, entries: Entries) -> Entries:
        """Send a MESSAGE and return the answer. Raises BtpError, UnreachableError, NotConnectedError."""
        return await self._link().ask(entries)

    async def _pay(self, amount: int, entries: Entries) -> Entries:
        """Send a TRANSFER and return the answer. Raises as `_ask`; after NotConnectedError nothing has left."""
        return await self._link().pay(amount, entries)

    def _link(self) -> Link:
        link = self._dialled or self._guest
        if link is None:
            raise NotConnectedError("not connected")
        return link

    # Beginning and end

    async def _listen(self) -> None:
        self._listens = asyncio.get_running_loop().create_future()
        self._until_peer = asyncio.create_task(super().connect(_FOR_EVER))
        await asyncio.wait({self._until_peer, self._listens}, return_when=asyncio.FIRST_COMPLETED)
        if self._until_peer.done():
            await self._until_peer
        else:
            # If it ends without a peer we were disconnected, and who did that knows.
            self._until_peer.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def _connect(self) -> None:
        options = self._options
        if options.server is None and options.listener is None:
            raise InvalidFieldsError("opts should have server or listener")
        if options.listener is not None:
            self._server = await listen(options.listener, options, self._serve)
        if self._listens is not None and not self._listens.done():
            self._listens.set_result(None)
        if options.server is not None:
            self._dialling = asyncio.create_task(self._keep_dialling(options.server))
        while self._dialled is None and self._guest is None:
            self._coming = asyncio.get_running_loop().create_future()
            await self._coming

    async def _disconnect(self) -> None:
        dialling, self._dialling = self._dialling, None
        server, self._server = self._server, None
        if server is not None:
            server.close()
        if dialling is not None:
            dialling.cancel()
            await asyncio.wait({dialling})
        if server is not None:
            await server.wait_closed()
        await self._workers.stop()

    # Links

    def _opened(self, link: Link) -> None:
        if isinstance(link.socket, Guest):
            link.socket.is_known()
            before, self._guest = self._guest, link
            if before is not None:
                before.replace()
        else:
            self._dialled = link
        if self._coming is not None and not self._coming.done():
            self._coming.set_result(None)
        self._went(Step.READY)
        self._peer_came()

    def _closed(self, link: Link) -> None:
        if self._guest is link:
            self._guest = None
        if self._dialled is link:
            self._dialled = None
        if self._guest is None and self._dialled is None:
            self._went(Step.LOST)

    def _judge(self, login: Login) -> str | None:
        listener = self._options.listener
        if listener is None or not hmac.compare_digest(login.token, listener.secret):
            self._log.info("a stranger was refused")
            return "invalid auth token"
        return None

    async def _serve(self, socket: Guest) -> None:
        link = Link("server", socket, self._owner)
        try:
            await link.run()
        finally:
            self._closed(link)

    async def _keep_dialling(self, address: BtpAddress) -> None:
        options, around = self._options, self._surroundings
        reconnecting = Reconnecting(around.random, options.waits_s, options.clear_s)
        while True:
            error, is_final = await self._dial(address)
            coming = self._coming
            if is_final and coming is not None and not coming.done() and self._options.listener is None:
                coming.set_exception(error)
                return
            wait_s = reconnecting.failed(asyncio.get_running_loop().time())
            self._log.info("%s; dialling again in %d s", error, round(wait_s, 3))
            await around.sleep(wait_s)

    async def _dial(self, address: BtpAddress) -> tuple[LedgerPluginError, bool]:
        """Return after a whole connection, or an attempt: what has ended it, and whether another would end alike."""
        try:
            socket = await dial(address.url, self._options)
        except UnreachableError as error:
            return error, False
        except NotAcceptedError as error:
            return error, True
        link = Link("client", socket, self._owner)
        try:
            await link.log_in(username=address.username or "", token=address.token or "", flags=self._options.flags)
            await link.run()
        finally:
            self._closed(link)
            with suppress(ConnectionClosed):
                await socket.close()
        return _ending_of(link)


def _ending_of(link: Link) -> tuple[LedgerPluginError, bool]:
    if link.was_open:
        return UnreachableError("the connection was lost"), False
    if link.refused is None:
        code = link.socket.close_code or 1006
        if code in _GOING_AWAY:
            return UnreachableError("the connection was lost during the login"), False
        return NotAcceptedError(f"the peer closed the connection during the login ({code})"), True
    if not link.refused.code:
        return UnreachableError(link.refused.message), True
    if may_be_retried(link.refused.code):
        return UnreachableError(f"the peer lets nobody in now: {link.refused.message}"), False
    return NotAcceptedError(f"the peer refuses our credentials: {link.refused.message}"), True
