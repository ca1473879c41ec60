"""Channel requests that come as device messages: the same receiver answers them as those over HTTP."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shared.logs import get_logger
from shared.receiving.errors import ReceivingError
from shared.receiving.peer_protocol import error_answer, read_request, serve
from shared.store import contacts
from shared.store.errors import StoreError
from shared.strict_json import StrictJsonError, decode
from worker.devices.pending import MAX_TAG_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.obyte.device_messages import DeviceMessage
    from shared.receiving.receiver import Receiver
    from shared.store.database import Connection

logger = get_logger(__name__)

MAX_REQUEST_BYTES = 65_536
"""As over HTTP, without what the message itself adds."""
_ENVELOPE_BYTES = 1_024


@dataclass(frozen=True, slots=True)
class Served:
    """What a request has come to: the answer to be sent, and the channel whose contact its sender is."""

    answer: dict[str, Any] = field(repr=False)
    asked_for: str | None = None
    """The channel that the sender has asked for."""
    paid_on: str | None = None
    """The channel on which a new payment of its peer has come from the sender."""

    async def note_contact(self, conn: Connection, device: str) -> None:
        """Keep with the channel from where it was asked for, or paid on."""
        if self.asked_for is not None:
            await contacts.note_device(conn, self.asked_for, device)
        if self.paid_on is not None:
            await contacts.replace_device(conn, self.paid_on, device)


class ChannelRequests:
    """Answers requests. `clock` gives seconds since 1970."""

    def __init__(self, receiver: Receiver, *, max_age_s: float, clock: Callable[[], float]) -> None:
        self._receiver = receiver
        self._max_age_s = max_age_s
        self._clock = clock

    async def serve(self, message: DeviceMessage) -> Served | None:
        """Carry a request out; None for a message that asks for nothing, which is never answered.

        Two devices that answered each other's answers would never stop. Raises StoreError.
        """
        if not isinstance(message.body, dict) or "command" not in message.body:
            return None
        tag = message.body.get("tag")
        found = await self._serve(message)
        addressed = {"tag": tag} if isinstance(tag, str) and len(tag) <= MAX_TAG_CHARACTERS else {}
        return Served({**found.answer, **addressed, "url": None}, found.asked_for, found.paid_on)

    async def _serve(self, message: DeviceMessage) -> Served:
        try:
            request = read_request(_strictly(message.text), now_s=self._clock(), max_age_s=self._max_age_s)
            answer = await serve(self._receiver, request)
        except (ReceivingError, StrictJsonError) as error:
            return Served(error_answer(error.code, str(error)))
        except StoreError:
            raise
        except Exception as error:
            # A device gets an answer to every request, as a peer over HTTP does.
            logger.exception("request_failed", device=message.sender, error=type(error).__name__)
            return Served(error_answer("internal_error", "internal error"))
        if request.command == "create_channel":
            return Served(answer, asked_for=answer["response"]["aa_address"])
        receipt = answer.get("receipt")
        if request.command == "pay" and receipt is not None and not receipt["duplicate"]:
            return Served(answer, paid_on=receipt["aa_address"])
        return Served(answer)


def _strictly(text: bytes) -> Any:
    """Read the request again as every door does: in one meaning, or not at all. Raises StrictJsonError."""
    if len(text) > MAX_REQUEST_BYTES + _ENVELOPE_BYTES:
        raise StrictJsonError("body_too_large", f"the request is larger than {MAX_REQUEST_BYTES} bytes")
    content = decode(text)
    return content["body"] if isinstance(content, dict) else None
