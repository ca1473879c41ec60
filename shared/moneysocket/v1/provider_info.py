"""What a provider of the draft of version 1 says of itself.

| key                        | value                                                                             |
|----------------------------|-----------------------------------------------------------------------------------|
| `account_uuid`             | uuid of version 4                                                                 |
| `wad`                      | an amount (`wads`), never null                                                    |
| `payer`, `payee`           | booleans                                                                          |
| `public_keys`              | hexadecimal key to an object: `curve` (text), `features` (texts, none empty), and |
|                            | optional `friendly_name` (1 to 64 characters)                                     |
| `features`, `feature_data` | as everywhere (`features`)                                                        |
| others                     | kept, written at the end                                                          |
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shared.moneysocket.errors import MessageError
from shared.moneysocket.v1.features import check_features, check_uuid4
from shared.moneysocket.v1.wads import WadV1, read_wad_v1

if TYPE_CHECKING:
    from shared.moneysocket.json_text import JsonValue

_KEYS = ("account_uuid", "wad", "payer", "payee", "public_keys", "features", "feature_data")
_MAX_FRIENDLY_NAME = 64


@dataclass(frozen=True, slots=True)
class ProviderInfoV1:
    """The account behind a connection."""

    account_uuid: str
    wad: WadV1
    payer: bool
    payee: bool
    public_keys: dict[str, Any] = field(default_factory=dict)
    features: list[str] = field(default_factory=list)
    feature_data: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, JsonValue] = field(default_factory=dict)

    def to_json(self) -> dict[str, JsonValue]:
        """The object as it is sent."""
        values = {key: getattr(self, key) for key in _KEYS}
        return {**values, "wad": self.wad.to_json(), **self.extra}


def read_provider_info_v1(value: JsonValue) -> ProviderInfoV1:
    """Read what a provider says of itself. Raises MessageError `not_an_object`, `bad_field`, or WadError."""
    if not isinstance(value, dict):
        raise MessageError("not_an_object", "provider info is a JSON object")
    account_uuid = check_uuid4(value.get("account_uuid"), "account_uuid")
    wad = read_wad_v1(value.get("wad"))
    payer, payee = value.get("payer"), value.get("payee")
    if not isinstance(payer, bool) or not isinstance(payee, bool):
        raise MessageError("bad_field", "payer and payee are true or false")
    features, feature_data = check_features(value)
    public_keys = value.get("public_keys")
    if not isinstance(public_keys, dict):
        raise MessageError("bad_field", "public_keys is not an object")
    for key, about in public_keys.items():
        _check_public_key(key, about)
    extra = {key: item for key, item in value.items() if key not in _KEYS}
    return ProviderInfoV1(account_uuid, wad, payer, payee, public_keys, features, feature_data, extra)


def _check_public_key(key: str, about: object) -> None:
    try:
        bytes.fromhex(key)
    except ValueError:
        raise MessageError("bad_field", "a public key is not hexadecimal") from None
    if not isinstance(about, dict):
        raise MessageError("bad_field", "a public key is not described by an object")
    curve, features, name = about.get("curve"), about.get("features"), about.get("friendly_name", "-")
    if not isinstance(curve, str) or not curve:
        raise MessageError("bad_field", "the curve of a public key is not named")
    if not isinstance(features, list) or not all(isinstance(feature, str) and feature for feature in features):
        raise MessageError("bad_field", "the features of a public key are not a list of texts")
    if not isinstance(name, str) or not 1 <= len(name) <= _MAX_FRIENDLY_NAME:
        raise MessageError("bad_field", f"the friendly name of a public key has 1 to {_MAX_FRIENDLY_NAME} characters")
