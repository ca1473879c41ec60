"""`POST /v1/packages/verify`: external communication, where the application itself got the package from its payer."""

import json
from typing import Any, cast

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from front import examples
from front.answering import described, problems
from front.bodies import read_json
from front.callers import Merchant
from front.problems import NO_STORE, Problem
from shared.channels.model import is_amount
from shared.receiving.errors import (
    ChannelRefused,
    NotInitializedError,
    PackageRefused,
    ReceivingError,
    UnavailableError,
)
from shared.receiving.limits import origin_of_key
from shared.receiving.outcomes import Refusal
from shared.receiving.prices import Price
from shared.strict_json import JsonValue

router = APIRouter(prefix="/v1/packages", tags=["packages"])

_BESIDE = frozenset({"message", "price"})
"""Members of the body that are no part of the package."""

_DESCRIPTION: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["version", "signed_message", "authors"],
                    "additionalProperties": False,
                    "properties": {
                        "version": {"type": "string"},
                        "signed_message": {"type": "object"},
                        "authors": {"type": "array", "minItems": 1, "maxItems": 1},
                        "message": {"description": "Any JSON; kept with the payment, not signed"},
                        "price": {
                            "type": "object",
                            "description": "Refuse, and credit nothing, when the package pays less or another asset",
                            "required": ["asset", "amount"],
                            "additionalProperties": False,
                            "properties": {
                                "asset": {"type": "string"},
                                "amount": {"type": "integer", "minimum": 1},
                            },
                        },
                    },
                },
                "example": examples.PACKAGE,
            }
        },
    }
}
_REFUSED = (
    "over_credit",
    "payment_amount 700 is over the available credit 600",
    "The channel's state forbids it: `code` names the rule, `channel` our view of the channel",
)


class ReceiptView(BaseModel):
    """What was credited for a package."""

    payment_id: int
    amount: int = Field(description="In the asset's smallest unit")
    asset: str
    aa_address: str
    period: int
    amount_spent: int
    duplicate: bool = Field(description="The package was credited before; this is its first receipt")
    message: Any = Field(
        None, description="Only with a price: what came with the package when it was credited, or null"
    )
    answer: Any = Field(None, description="Only with a price: the answer that is kept with the payment, or null")


_RESPONSES = described("The payment is committed", ReceiptView, examples.RECEIPT) | problems(
    400, 401, 403, 413, 422, 503, status_409=_REFUSED
)


@router.post("/verify", summary="Verify and credit a signed package", openapi_extra=_DESCRIPTION, responses=_RESPONSES)
async def verify(request: Request, caller: Merchant) -> Response:
    """Credit a package once; the same package again gets the same receipt, marked as a duplicate."""
    body = await read_json(request)
    if not isinstance(body, dict):
        raise Problem(400, "not_an_object", "the body should be a JSON object")
    price = _price(body["price"]) if "price" in body else None
    package = {name: member for name, member in body.items() if name not in _BESIDE}
    try:
        outcome = await request.app.state.receiver.receive(
            package, body.get("message"), price=price, origin=origin_of_key(caller.key_id)
        )
    except UnavailableError:
        raise
    except NotInitializedError as error:
        raise Problem(503, error.code, error.text, headers={"retry-after": "5"}) from None
    except ChannelRefused as error:
        raise Problem(409, error.code, error.text) from None
    except (PackageRefused, ReceivingError) as error:
        raise Problem(422, error.code, error.text) from None
    if isinstance(outcome, Refusal):
        members = {} if outcome.channel is None else {"channel": outcome.channel.as_json()}
        raise Problem(409, outcome.code, outcome.text, members=members)
    kept = {} if price is None else {"message": _decoded(outcome.message), "answer": _decoded(outcome.response)}
    return JSONResponse(outcome.as_json() | kept, headers=NO_STORE)


def _price(value: JsonValue) -> Price:
    if not isinstance(value, dict) or value.keys() != {"asset", "amount"}:
        raise Problem(422, "invalid_price", "price should be an object of asset and amount")
    asset, amount = value["asset"], value["amount"]
    if not isinstance(asset, str) or not is_amount(amount):
        raise Problem(422, "invalid_price", "price should be an asset and a positive amount")
    return Price(asset, amount)


def _decoded(text: str | None) -> JsonValue:
    return None if text is None else cast("JsonValue", json.loads(text))
