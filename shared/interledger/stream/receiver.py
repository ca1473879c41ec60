"""Receiving STREAM payments without a memory: a prepare in, a refusal, an answer or an offer out.

    the prepare                                                 the answer
    ----------------------------------------------------------  ------------------------------------------------------
    is not for an address below ours                            F02, without a word
    its token or its data was sealed by nobody who could pay    F06, without a word
    its data is no STREAM packet                                F06, without a word
    its STREAM packet was made for an answer                    F00, without a word
    is larger than our packets may be                           F08 with the two numbers; STREAM data is not needed
    has a ConnectionClose                                       F99 and ConnectionClose in return
    is one of too many on its connection (STR-5)                F99 and ConnectionClose
    has less than the least it was to bring                     F99: the sender reads from it what arrived
    has a condition that is not ours to fulfill (a probe)       F99: the same
    brings nothing, and is fulfillable                          fulfill: some senders would repeat it for ever
    anything else                                               an `Offer`, for the application to decide

From the seventh line on an answer carries STREAM data: the same sequence, what arrived, and the asset if the packet had
ConnectionNewAddress. Whether a prepare comes too late, is judged before (`rejections.judge_expiry`). An offer must be
credited once for its `packet_id`, in the transaction that is committed before the fulfill leaves (STR-1, STR-2).
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from shared.interledger.amounts import MAX_AMOUNT
from shared.interledger.errors import DecodingError, SealError
from shared.interledger.packets import FULFILL, PREPARE, REJECT, Fulfill, Prepare, Reject, condition_of
from shared.interledger.rejections import AmountLimit, IlpError, amount_too_large
from shared.interledger.stream.crypto import ConnectionKeys
from shared.interledger.stream.frames import (
    ConnectionAssetDetails,
    ConnectionClose,
    ConnectionNewAddress,
    ErrorCode,
    StreamFrame,
    StreamReceipt,
)
from shared.interledger.stream.packets import StreamPacket, decode_stream_packet, encode_stream_packet
from shared.interledger.stream.receipts import make_receipt
from shared.interledger.stream.tokens import Asset, Credentials, Terms, TokenKeys

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_SEQUENCE = 2**31
"""Packets on one connection: more of them under one key and random IVs would not be safe (STR-5)."""
RECEIPT_STREAM = 1
"""Payments use the first stream of the client; receipts are made for that one."""

_CLOSE = ConnectionClose(ErrorCode.NO_ERROR, "")


@dataclass(frozen=True, slots=True)
class Offer:
    """Money that is there for the taking: answer with `accept`, `busy` or `decline`."""

    amount: int
    connection_id: str
    """SHA-256 of the destination address, hex: the total of a connection is kept by it (STR-3)."""
    packet_id: bytes
    """Names the packet within all connections: credit it once (STR-1)."""
    sequence: int
    terms: Terms
    frames: tuple[StreamFrame, ...]
    _reply: _Reply = field(repr=False)
    _fulfillment: bytes = field(repr=False)

    def accept(self, total_received: int | None = None) -> Fulfill:
        """Return the fulfill, after the credit is committed.

        `total_received` of the connection, this packet included, goes into a receipt if the payer's provider asked for
        receipts. Raises EncodingError for a total that is no UInt64.
        """
        frames: tuple[StreamFrame, ...] = ()
        if self.terms.receipts is not None and total_received is not None:
            receipt = make_receipt(self.terms.receipts, RECEIPT_STREAM, total_received)
            frames = (StreamReceipt(RECEIPT_STREAM, receipt),)
        return self._reply.fulfill(self._fulfillment, frames)

    def busy(self) -> Reject:
        """Return a refusal after which the sender tries again."""
        return self._reply.reject(IlpError.INTERNAL_ERROR)

    def decline(self) -> Reject:
        """Return a refusal that ends the connection."""
        return self._reply.reject(IlpError.APPLICATION_ERROR, (_CLOSE,))


@dataclass(frozen=True, slots=True)
class _Reply:
    """What all answers to one packet have in common."""

    ours: str
    keys: ConnectionKeys
    sequence: int
    amount: int
    frames: tuple[StreamFrame, ...]
    random_bytes: Callable[[int], bytes]

    def fulfill(self, fulfillment: bytes, frames: tuple[StreamFrame, ...] = ()) -> Fulfill:
        return Fulfill(fulfillment, self._sealed(FULFILL, frames))

    def reject(self, code: IlpError, frames: tuple[StreamFrame, ...] = ()) -> Reject:
        return Reject(code, self.ours, "", self._sealed(REJECT, frames))

    def _sealed(self, packet_type: int, frames: tuple[StreamFrame, ...]) -> bytes:
        packet = StreamPacket(self.sequence, packet_type, self.amount, self.frames + frames)
        return self.keys.seal(encode_stream_packet(packet), self.random_bytes)


Answer: TypeAlias = Fulfill | Reject | Offer


class StreamReceiver:
    """Receives for all addresses below `ours` that were issued under one secret of 32 bytes.

    `random_bytes` must be the system's, or as good. Raises SealError `bad_secret`.
    """

    def __init__(
        self,
        server_secret: bytes,
        ours: str,
        *,
        random_bytes: Callable[[int], bytes],
        max_packet_amount: int = MAX_AMOUNT,
    ) -> None:
        self._tokens = TokenKeys(server_secret)
        self._ours = ours
        self._random_bytes = random_bytes
        self._max_packet_amount = max_packet_amount

    def issue(self, terms: Terms) -> Credentials:
        """Return a new address with these terms, and its secret. Raises EncodingError if they do not fit."""
        return self._tokens.issue(self._ours, terms, self._random_bytes)

    def terms_of(self, address: str) -> Terms | None:
        """Return what an address of ours carries; None for one that we have not issued."""
        try:
            found = self._tokens.read(self._ours, address)
        except SealError:
            return None
        return None if found is None else found[0]

    def receive(self, prepare: Prepare) -> Answer:
        """Judge a prepare by the table above. Nothing that a peer sends raises."""
        try:
            found = self._tokens.read(self._ours, prepare.destination)
            if found is None:
                return self._mute(IlpError.UNREACHABLE)
            terms, shared_secret = found
            keys = ConnectionKeys(shared_secret)
            packet = decode_stream_packet(keys.open(prepare.data))
        except (SealError, DecodingError):
            return self._mute(IlpError.UNEXPECTED_PAYMENT)
        if packet.packet_type != PREPARE:
            return self._mute(IlpError.BAD_REQUEST)
        if prepare.amount > self._max_packet_amount:
            return amount_too_large(AmountLimit(prepare.amount, self._max_packet_amount), self._ours)
        return self._judge(prepare, packet, terms, keys)

    def _judge(self, prepare: Prepare, packet: StreamPacket, terms: Terms, keys: ConnectionKeys) -> Answer:
        bare = _Reply(self._ours, keys, packet.sequence, prepare.amount, (), self._random_bytes)
        if packet.first(ConnectionClose) is not None or packet.sequence > MAX_SEQUENCE:
            return bare.reject(IlpError.APPLICATION_ERROR, (_CLOSE,))
        reply = _Reply(
            self._ours, keys, packet.sequence, prepare.amount, _asked_for(packet, terms.asset), self._random_bytes
        )
        fulfillment = keys.fulfillment(prepare.data)
        is_ours = hmac.compare_digest(condition_of(fulfillment), prepare.condition)
        if prepare.amount < packet.prepare_amount or not is_ours:
            return reply.reject(IlpError.APPLICATION_ERROR)
        if prepare.amount == 0:
            return reply.fulfill(fulfillment)
        return Offer(
            amount=prepare.amount,
            connection_id=hashlib.sha256(prepare.destination.encode("ascii")).hexdigest(),
            packet_id=keys.packet_id(packet.sequence),
            sequence=packet.sequence,
            terms=terms,
            frames=packet.frames,
            _reply=reply,
            _fulfillment=fulfillment,
        )

    def _mute(self, code: IlpError) -> Reject:
        return Reject(code, self._ours)


def _asked_for(packet: StreamPacket, asset: Asset | None) -> tuple[StreamFrame, ...]:
    """Return the asset, without which some senders cannot price anything, to a sender that introduces itself."""
    if asset is None or packet.first(ConnectionNewAddress) is None:
        return ()
    return (ConnectionAssetDetails(asset.code, asset.scale),)
