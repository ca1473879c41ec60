"""What can be ordered from the worker: the kinds of commands and the parameters of each.

Fronts and the command line check an order with these before they queue it, and the worker checks it again: the row is
all that passes between them. Amounts are in the smallest unit of the channel's asset, times in seconds.

    kind           about a channel  asks for
    -------------  ---------------  ----------------------------------------------------------------------------
    close          yes              switch auto refill off and close the period with the best claim
    sweep          yes              close the period; auto refill opens the next one
    deposit        yes              add to our deposit
    auto_refill    yes              deposit by itself when little is left, or no more
    pay            yes              sign a package and deliver it to the peer
    resend         yes              deliver a package again, as the same bytes
    sign           yes              sign a package and hand it to who asked, who delivers it himself
    open           no               agree on a channel with a peer and make the first deposit
    withdraw       no               pay out of the wallet
    publish_agent  no               publish the channels agent of a version on this network
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared.channels.model import MAX_AMOUNT

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_PEER_CHARACTERS = 1_000
MAX_SALT_CHARACTERS = 50
MAX_TIMEOUT_S = 2**31 - 1

ASSET = r"^(base|[A-Za-z0-9+/]{43}=)$"
ADDRESS = r"^[A-Z2-7]{32}$"

Amount = Annotated[int, Field(ge=1, le=MAX_AMOUNT)]
Asset = Annotated[str, Field(pattern=ASSET)]
Address = Annotated[str, Field(pattern=ADDRESS)]

_IN_WORDS = {ASSET: 'must be "base" or the 44 characters of an asset', ADDRESS: "must be an address, 32 characters"}


class OrderError(Exception):
    """An order that no worker can carry out as it is written. The message names the parameter and the rule."""

    code = "bad_command"


class Order(BaseModel):
    """The parameters of one kind of command. Nothing is converted, and nothing unknown is ignored."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    kind: ClassVar[str]
    needs_channel: ClassVar[bool] = True


class Close(Order):
    """End the period: `{"unit"}` of the closing when the hub has it, null if there was only auto refill to end."""

    kind = "close"
    period: Annotated[int, Field(ge=1)] | None = None
    """Nothing but this period is to be ended."""


class Sweep(Order):
    """End the period and leave auto refill as it is: `{"unit"}`."""

    kind = "sweep"
    period: Annotated[int, Field(ge=1)] | None = None


class Deposit(Order):
    """Add `amount` to our deposit: `{"unit"}` when the hub has it. More than 10 000 in a channel of bytes."""

    kind = "deposit"
    amount: Amount


class RefillTerms(BaseModel):
    """Deposit `amount` whenever less than `threshold` could be spent."""

    model_config = Order.model_config

    amount: Amount
    threshold: Amount


class AutoRefill(Order):
    """Set both of `amount` and `threshold`, or `off`."""

    kind = "auto_refill"
    amount: Amount | None = None
    threshold: Amount | None = None
    off: bool = False

    @model_validator(mode="after")
    def _both_or_off(self) -> Self:
        if {self.amount is None, self.threshold is None} != {self.off}:
            raise ValueError("give both amount and threshold, or off alone")
        return self


class Pay(Order):
    """Pay `amount`; `message` is any JSON for the peer's application.

    Done when the peer has taken it: `{"period", "amount", "amount_spent", "response", …}`. `peer`: where the peer of a
    channel is reached whose URL only he himself has told.
    """

    kind = "pay"
    amount: Amount
    message: Any = None
    peer: Annotated[str, Field(max_length=MAX_PEER_CHARACTERS)] | None = None


class Resend(Order):
    """Deliver a package that we have signed again: same bytes, credited once. The result is that of `pay`."""

    kind = "resend"
    period: Annotated[int, Field(ge=1)]
    amount_spent: Amount
    peer: Annotated[str, Field(max_length=MAX_PEER_CHARACTERS)] | None = None


class Sign(Order):
    """Sign a package of `amount` and send it to nobody: `{"period", "amount", "amount_spent", "sealed_package"}`.

    The amount counts as spent from then on. `sealed_package` is the package's JSON text, sealed for `seal_to`
    (`shared.sealing`): who asked delivers it, by whatever way the peer has told him.
    """

    kind = "sign"
    amount: Amount
    seal_to: Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{43}=$")]


class Open(Order):
    """Open a channel and deposit `initial_amount`: `{"aa_address", "unit", …}` when the hub has the first unit.

    `peer`: a URL, a pairing code, or a payment address; the owner of an address is not asked, and told of the channel
    by our first package. `timeout`, `version`, `salt`: chosen by the worker where they are left out, the version as the
    best one that the peer knows, for an address as 1.1, which every owner knows.
    """

    kind = "open"
    needs_channel = False
    peer: Annotated[str, Field(min_length=1, max_length=MAX_PEER_CHARACTERS)]
    initial_amount: Amount
    timeout: Annotated[int, Field(ge=1, le=MAX_TIMEOUT_S)] | None = None
    asset: Asset = "base"
    version: Annotated[str, Field(min_length=1, max_length=4)] | None = None
    salt: Annotated[str, Field(min_length=1, max_length=MAX_SALT_CHARACTERS)] | None = None
    auto_refill: RefillTerms | None = None


class Withdraw(Order):
    """Pay `amount`, or `"all"` beyond the reserve, to `address` from the wallet: `{"unit"}` when the hub has it.

    An agent is only paid with `to_agent`.
    """

    kind = "withdraw"
    needs_channel = False
    address: Address
    amount: Amount | Literal["all"]
    asset: Asset = "base"
    to_agent: bool = False


class PublishAgent(Order):
    """Publish the channels agent of a version: `{"unit"}` when the hub has it."""

    kind = "publish_agent"
    needs_channel = False
    version: Annotated[str, Field(min_length=1, max_length=4)] = "1.2"


OrderT = TypeVar("OrderT", bound=Order)


def read_order(order: type[OrderT], params: Mapping[str, Any]) -> OrderT:
    """Check the parameters of one kind of command. Raises OrderError."""
    try:
        return order.model_validate(dict(params))
    except ValidationError as error:
        raise OrderError("; ".join(_fault(dict(fault)) for fault in error.errors(include_url=False))) from None


def _fault(fault: dict[str, Any]) -> str:
    where = ".".join(str(part) for part in fault["loc"])
    told = str(fault["msg"]).removeprefix("Value error, ")
    what = _IN_WORDS.get(fault.get("ctx", {}).get("pattern", ""), told)
    return f"{where}: {what[0].lower()}{what[1:]}" if where else what
