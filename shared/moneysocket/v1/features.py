"""What the envelope and the provider info of the draft share: uuids of version 4, and features with their data.

`features` is a list of texts, `feature_data` an object whose keys are among them and whose values are not null.
"""

from __future__ import annotations

import uuid
from typing import Any

from shared.moneysocket.errors import MessageError

_MAX_UUID_CHARS = 64
_RANDOM = 4


def check_uuid4(value: object, key: str) -> str:
    """Return a uuid of version 4, in any form Python reads; raises MessageError `bad_field`."""
    try:
        is_random = isinstance(value, str) and len(value) <= _MAX_UUID_CHARS and uuid.UUID(value).version == _RANDOM
    except ValueError:
        is_random = False
    if not is_random:
        raise MessageError("bad_field", f"{key} is not a uuid of version 4")
    return str(value)


def check_features(holder: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """Return `features` and `feature_data` of an object; raises MessageError `bad_field`."""
    features, data = holder.get("features"), holder.get("feature_data")
    if not isinstance(features, list) or not all(isinstance(feature, str) for feature in features):
        raise MessageError("bad_field", "features is not a list of texts")
    if not isinstance(data, dict):
        raise MessageError("bad_field", "feature_data is not an object")
    names = set(features)
    if any(key not in names or value is None for key, value in data.items()):
        raise MessageError("bad_field", "feature_data holds null, or data of a feature that is not listed")
    return features, data
