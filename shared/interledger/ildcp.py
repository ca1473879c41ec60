"""IL-DCP (RFC-0031) and its kin under `peer.`: an ILP packet between the two ends of an account, worth nothing.

    asks      prepare to `peer.config`, amount 0, the well-known condition, no data
    answers   fulfill with 32 zero bytes; data = address VarOctetString · asset scale UInt8 · asset code VarOctetString

The well-known condition is SHA-256 of 32 zero bytes. Anything else under `peer.` has no answer but a refusal here, and
nothing under it is ever forwarded.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from shared.interledger import oer
from shared.interledger.addresses import MAX_ADDRESS_LENGTH, address_octets, is_peer_address, read_address
from shared.interledger.errors import DecodingError, PeerRequestError
from shared.interledger.packets import CONDITION_BYTES, Fulfill, Packet, Prepare, Reject, condition_of
from shared.interledger.rejections import IlpError

if TYPE_CHECKING:
    from datetime import datetime

CONFIG_ADDRESS = "peer.config"
PEER_FULFILLMENT = bytes(CONDITION_BYTES)
PEER_CONDITION = condition_of(PEER_FULFILLMENT)
REQUEST_LIFETIME = timedelta(seconds=60)
MAX_ASSET_CODE_BYTES = 255


@dataclass(frozen=True, slots=True)
class AccountDetails:
    """What a child learns of its parent: its own address, and what one unit of the account is worth.

    An amount of 1 is 10^-`asset_scale` of the asset `asset_code`.
    """

    client_address: str
    asset_scale: int
    asset_code: str


def config_request(now: datetime, data: bytes = b"") -> Prepare:
    """Return the question; it is open for a minute."""
    return Prepare(0, now + REQUEST_LIFETIME, PEER_CONDITION, CONFIG_ADDRESS, data)


def check_config_request(prepare: Prepare, now: datetime) -> None:
    """Raise PeerRequestError unless this is a question that may be answered; an amount above zero does no harm.

    Codes: `wrong_destination`, `wrong_condition`, `expired`.
    """
    if prepare.destination != CONFIG_ADDRESS:
        raise PeerRequestError("wrong_destination", "destination", f"should be {CONFIG_ADDRESS}")
    if not hmac.compare_digest(prepare.condition, PEER_CONDITION):
        raise PeerRequestError("wrong_condition", "executionCondition", "should be that of 32 zero bytes")
    if prepare.expires_at <= now:
        raise PeerRequestError("expired", "expiresAt", "should lie in the future")


def answer_peer(prepare: Prepare, details: AccountDetails, now: datetime, ours: str) -> Fulfill | Reject | None:
    """Return the answer to what goes to `peer.`; None for a packet that goes elsewhere (DCP-1, DCP-3).

    Raises EncodingError for details that no packet carries.
    """
    if not is_peer_address(prepare.destination):
        return None
    try:
        check_config_request(prepare, now)
    except PeerRequestError as error:
        code = IlpError.BAD_REQUEST if error.code == "expired" else IlpError.INVALID_PACKET
        return Reject(code, ours, str(error))
    return config_response(details)


def config_response(details: AccountDetails) -> Fulfill:
    """Return the answer. Raises EncodingError."""
    return Fulfill(
        PEER_FULFILLMENT,
        oer.var_octets(address_octets(details.client_address, "clientAddress"), "clientAddress")
        + oer.uint8(details.asset_scale, "assetScale")
        + oer.utf8_octets(details.asset_code, "assetCode", MAX_ASSET_CODE_BYTES),
    )


def read_config_response(packet: Packet) -> AccountDetails:
    """Read what came back; more than these fields is ignored.

    Raises PeerRequestError (`wrong_type`: a refusal, `wrong_fulfillment`) and DecodingError.
    """
    if not isinstance(packet, Fulfill):
        raise PeerRequestError("wrong_type", "answer", "should be a fulfill")
    if not hmac.compare_digest(packet.fulfillment, PEER_FULFILLMENT):
        raise PeerRequestError("wrong_fulfillment", "fulfillment", "should be 32 zero bytes")
    reader = oer.Reader(packet.data)
    address = read_address(reader.var_octets("clientAddress", MAX_ADDRESS_LENGTH), "clientAddress")
    scale = reader.uint8("assetScale")
    code = reader.var_octets("assetCode", MAX_ASSET_CODE_BYTES)
    try:
        return AccountDetails(address, scale, code.decode())
    except UnicodeDecodeError:
        raise DecodingError("not_utf8", "assetCode", "should be UTF-8") from None
