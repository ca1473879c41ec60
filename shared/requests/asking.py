"""What somebody may ask to be paid: the terms of a request as its owner writes them, checked at every door. Pure."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from shared.orders import Amount, Asset

MAX_MEMO = 500
MAX_METADATA = 4_096
MAX_RETURN_URL = 1_000
MAX_LIFE_S = 10 * 366 * 86_400
_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]")
_PLAIN_URL = re.compile(r"https?://[\x21-\x7e]+")
_STEERING = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2028\u2029\u2066-\u2069]")


def _bounded(value: dict[str, Any]) -> dict[str, Any]:
    if len(json.dumps(value, separators=(",", ":"))) > MAX_METADATA:
        raise ValueError(f"must not have more than {MAX_METADATA} characters of JSON in ASCII")
    return value


def _readable(text: str) -> str:
    if not text.strip() or _STEERING.search(text):
        raise ValueError("must be text, without control characters but for line ends")
    return text


def _followable(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_plain = _PLAIN_URL.fullmatch(url) and parts.hostname and "@" not in parts.netloc
    except ValueError:
        is_plain = None
    if not is_plain:
        raise ValueError("must be an address that begins with https:// or http://, without a name and password")
    return url


def _written_out(value: Any) -> Any:
    if not isinstance(value, datetime) and not (isinstance(value, str) and _MOMENT.match(value)):
        raise ValueError("must be a date and a time with its zone, as in 2026-01-31T12:00:00Z")
    return value


def _in_range(moment: datetime) -> datetime:
    if not _EARLIEST <= moment <= _LATEST:
        raise ValueError("must lie between the years 1970 and 9999")
    return moment


Moment = Annotated[AwareDatetime, BeforeValidator(_written_out), AfterValidator(_in_range), Field(strict=False)]
Metadata = Annotated[dict[str, Any], AfterValidator(_bounded)]


class ExpiryError(ValueError):
    """The expiry is no moment that a request can wait for."""


class Asked(BaseModel):
    """What to ask for. Nothing is converted, and nothing unknown is ignored."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    amount: Amount = Field(description="In the asset's smallest unit")
    asset: Asset = Field("base", description="`base` or the asset's id")
    memo: Annotated[str, Field(min_length=1, max_length=MAX_MEMO), AfterValidator(_readable)] | None = Field(
        None, description="What it is for. Everybody with the page's address can read it"
    )
    metadata: Metadata | None = Field(
        None, description=f"Yours alone, never shown on the page: JSON of at most {MAX_METADATA} characters"
    )
    public_metadata: Metadata | None = Field(
        None, description="For the payer and his software: part of `/pay/{id}.json`"
    )
    return_url: Annotated[str, Field(max_length=MAX_RETURN_URL), AfterValidator(_followable)] | None = Field(
        None, description="Where the page leads back to"
    )
    expires_at: Moment | None = Field(None, description="When it expires; without one it does not")
    expires_in_s: Annotated[int, Field(ge=1, le=MAX_LIFE_S)] | None = Field(
        None, description="In how many seconds it expires, in place of `expires_at`"
    )

    @model_validator(mode="after")
    def _one_expiry(self) -> "Asked":
        if self.expires_at is not None and self.expires_in_s is not None:
            raise ValueError("expires_at and expires_in_s must not come together")
        return self

    def expiry(self, now: datetime) -> datetime | None:
        """Return when it expires. Raises ExpiryError for what is past, or too far away."""
        moment = self.expires_at
        if self.expires_in_s is not None:
            moment = now + timedelta(seconds=self.expires_in_s)
        if moment is not None and not now < moment <= now + timedelta(seconds=MAX_LIFE_S):
            raise ExpiryError("expires_at must be in the future, within ten years")
        return moment
