"""What can go wrong when a peer is asked. `code` is stable, the text is for people and holds no package or key."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.peers.answers import ChannelView, PeerAnswer


class PeerError(Exception):
    """Base of the errors of this room. On its own: a contact that cannot be one (`invalid_url`, `invalid_contact`)."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class PeerRefusedError(PeerError):
    """The peer answered that it will not.

    `code` is the peer's own (`refused` when it gave none), the text its reason, `channel` its view of the channel and
    `agent_versions` the versions of the channels agent that it takes, if it told that.
    """

    def __init__(
        self, code: str, text: str, channel: ChannelView | None = None, agent_versions: tuple[str, ...] | None = None
    ) -> None:
        super().__init__(code, text)
        self.channel = channel
        self.agent_versions = agent_versions


class UnansweredError(PeerError):
    """The peer gave no usable answer. Unless `may_have_acted` is False, nobody knows whether it acted."""

    def __init__(
        self, code: str, text: str, *, may_have_acted: bool = True, retry_after_s: float | None = None
    ) -> None:
        super().__init__(code, text)
        self.may_have_acted = may_have_acted
        self.retry_after_s = retry_after_s


class PeerUnreachableError(UnansweredError):
    """The peer, or the hub where its messages are left, cannot be reached or says nothing that has a meaning.

    Codes: `peer_unreachable`, `peer_unavailable` (it is overloaded or starting), `bad_answer`, `messenger_off` and
    `not_paired` (of device messages).
    """


class PeerTimeoutError(UnansweredError):
    """The peer did not answer in time; code `peer_timeout`. An answer that comes later is not listened to."""


def refusal(answer: PeerAnswer) -> PeerRefusedError | None:
    """Return the error that an answer means, if it means one."""
    if answer.error is None:
        return None
    return PeerRefusedError(answer.code or "refused", answer.error, answer.view, answer.agent_versions)
