"""What a ledger plugin raises (RFC-0024). `name` is the RFC's name, as it also goes over BTP.

    about to whom                 classes
    ----------------------------  ---------------------------------------------------------------------------------
    who builds a plugin           InvalidFieldsError, InvalidServicesError, WrongTypeError (a TypeError, too)
    who registers handlers        DataHandlerAlreadyRegisteredError, MoneyHandlerAlreadyRegisteredError
    who connects, sends or pays   NotAcceptedError, UnreachableError, NotConnectedError, MoneyNotSentError,
                                  InvalidAmountError; BtpError for what the peer answered
    the peer, from a handler      any of them; TransferNotFoundError, InvalidFulfillmentError, DuplicateIdError,
                                  AlreadyRolledBackError, AlreadyFulfilledError, InsufficientBalanceError

After `send_money` only a MoneyNotSentError says that nothing has left; any other error means that nobody knows.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from shared.interledger.btp.frames import Error
from shared.interledger.btp.refusals import NOT_ACCEPTED, code_of, message_in
from shared.interledger.errors import InterledgerError

if TYPE_CHECKING:
    from datetime import datetime

    from shared.interledger.btp.frames import Entries

_WORD = re.compile(r"(?<!^)(?=[A-Z])")


class LedgerPluginError(InterledgerError):
    """Base of all of these; the message is all that they are made with."""

    name: str = "LedgerPluginError"

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "name" not in cls.__dict__:
            cls.name = cls.__name__

    def __init__(self, message: str = "") -> None:
        code = _WORD.sub("_", type(self).__name__.removesuffix("Error")).lower()
        super().__init__(code, type(self).__name__, message)

    def __str__(self) -> str:
        return self.rule

    @property
    def btp_code(self) -> str:
        """The code that goes with `name` in an ERROR of BTP."""
        return code_of(self.name)


def refusal_of(error: BaseException) -> tuple[str, str]:
    """Return with which name and message a request of the peer is refused, of which a handler raised that.

    What is no error of this interface is a fault of ours: its name and text are nobody else's business.
    """
    if isinstance(error, LedgerPluginError):
        return error.name, str(error)
    return NOT_ACCEPTED, "the request could not be handled"


class WrongTypeError(LedgerPluginError, TypeError):
    """An argument of the wrong type; RFC-0024 says TypeError, and this is one."""

    name = "TypeError"


class InvalidFieldsError(LedgerPluginError):
    """Options that are wrong or missing, or a claim whose shape is."""


class InvalidServicesError(LedgerPluginError):
    """A service that the plugin needs is absent, or does not do what it should."""


class NotAcceptedError(LedgerPluginError):
    """The peer refuses our credentials, or a claim means nothing here; any refusal that has no name of its own."""


class DataHandlerAlreadyRegisteredError(LedgerPluginError):
    """There is a data handler already: deregister it first."""


class MoneyHandlerAlreadyRegisteredError(LedgerPluginError):
    """There is a money handler already: deregister it first."""


class UnreachableError(LedgerPluginError):
    """The peer cannot be reached, or has not answered in time."""


class MoneyNotSentError(LedgerPluginError):
    """No money has left, and none will for this call."""


class NotConnectedError(UnreachableError, MoneyNotSentError):
    """Not connected, so nothing was sent at all (LPI-25). Its name is UnreachableError."""

    name = "UnreachableError"


class InvalidAmountError(InvalidFieldsError, MoneyNotSentError):
    """An amount that nobody can pay. Its name is InvalidFieldsError."""

    name = "InvalidFieldsError"


class TransferNotFoundError(LedgerPluginError):
    """A channel that is not known here."""


class InvalidFulfillmentError(LedgerPluginError):
    """A fulfillment that fulfills nothing."""


class DuplicateIdError(LedgerPluginError):
    """The same claim with other contents."""


class AlreadyRolledBackError(LedgerPluginError):
    """A channel or a period of it that is closed, or being closed."""


class AlreadyFulfilledError(LedgerPluginError):
    """What should be fulfilled has been."""


class InsufficientBalanceError(LedgerPluginError):
    """A claim of more than the channel secures."""


class BtpError(LedgerPluginError):
    """The peer answered ERROR. All fields are as they came, `code` (T00, F00 …) and `name` too."""

    name = "BtpError"

    def __init__(
        self,
        code: str,
        name: str,
        triggered_at: datetime | None = None,
        data: str = "",
        protocol_data: Entries = (),
    ) -> None:
        said = message_in(Error(0, code, name, triggered_at, data, protocol_data))
        super().__init__(f"{code} {name}: {said}")
        self.code = code
        self.name = name
        self.triggered_at = triggered_at
        self.data = data
        self.protocol_data = protocol_data

    @classmethod
    def of(cls, error: Error) -> BtpError:
        """Return what an ERROR frame says."""
        return cls(error.code, error.name, error.triggered_at, error.data, error.entries)
