"""What can go wrong between a light client and its hub."""

from __future__ import annotations

from typing import Literal, TypeAlias

from shared.obyte.errors import HubError

MAX_ERROR_TEXT = 500
RefusalKind: TypeAlias = Literal["in_work", "recompose", "double_spend", "refused"]


class HubRequestError(HubError):
    """The hub answered with an error; code `hub_refused`, `hub_text` is what it said, printable, cut to 500 characters.

    It is kept with what it was said about, and no database stores every character that a hub can send.
    """

    def __init__(self, command: str, hub_text: str) -> None:
        self.command = command
        self.hub_text = "".join(letter if letter.isprintable() else " " for letter in hub_text[:MAX_ERROR_TEXT])
        super().__init__("hub_refused", f"the hub refused {command}: {self.hub_text}")


class HubTimeoutError(HubError):
    """The hub did not answer in time; code `hub_timeout`. A posted unit may have been accepted all the same."""

    def __init__(self, command: str, timeout_s: float) -> None:
        super().__init__("hub_timeout", f"no answer of the hub to {command} within {timeout_s:g} s")


class HubClosedError(HubError):
    """There is no connection (any more).

    Codes: `not_connected`, `unreachable`, `insecure_url`, `closed_by_us`, `closed_by_hub`, `hub_silent`,
    `notifications_overflow`, `frame_too_large`, and those of `hub_protocol.Fatal`.
    """


class HubAnswerError(HubError):
    """The hub answered something that cannot be true; code `bad_answer`."""

    def __init__(self, command: str, rule: str) -> None:
        super().__init__("bad_answer", f"the hub's answer to {command} is refused: {rule}")


class JointRefusedError(HubRequestError):
    """The hub did not take a posted unit; `kind` tells what to do.

    `in_work`: the hub is busy with it, post the same unit again. `recompose`: it no longer fits (parents, last ball,
    TPS fee): unless it is found on the ledger, compose anew with the same inputs. `double_spend`: it conflicts with
    another unit. `refused`: it breaks a rule; trying again is useless.
    """

    def __init__(self, hub_text: str, kind: RefusalKind) -> None:
        super().__init__("post_joint", hub_text)
        self.kind = kind

    @property
    def is_for_known_definition(self) -> bool:
        """Whether the ledger has the author's definition already, which we may not have seen become stable yet.

        The replacement must leave it out; only if the hub lies about that is it refused in its turn.
        """
        return "duplicate definition" in self.hub_text.lower()
