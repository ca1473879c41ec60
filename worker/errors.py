"""What can go wrong in the vault. Hub, unit and database errors keep their own kinds."""

from __future__ import annotations


class WorkerError(Exception):
    """Base of the errors of this room; `code` is stable, the message is for operators."""

    code = "worker"


class ConfigurationError(WorkerError):
    """The worker must not run like this, and trying again will not help: a person has to act.

    Codes: `wallet_unreadable`, `another_wallet`.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class PostingError(WorkerError):
    """A unit could not be brought to the ledger now; the purpose remains and is tried again.

    `code` is the hub's or the composer's: `not_enough_funds`, `fee_too_high`, `refused`, `double_spend`, …
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class WithholdingHubError(WorkerError):
    """The hub proves a later response of an agent and does not tell an earlier one: it hides a part of the ledger."""

    code = "hub_withholds"
