"""The version of whoever wrote a beacon or a message: three bytes, major, minor, patch."""

from __future__ import annotations

from dataclasses import dataclass

from shared.moneysocket.errors import BeaconError

_PARTS = 3
_MAX_PART = 255


@dataclass(frozen=True, slots=True)
class Version:
    """Three numbers from 0 to 255. Raises BeaconError `bad_version`."""

    major: int
    minor: int
    patch: int

    def __post_init__(self) -> None:
        """Refuse what does not fit a byte."""
        for part in (self.major, self.minor, self.patch):
            if isinstance(part, bool) or not isinstance(part, int) or not 0 <= part <= _MAX_PART:
                raise BeaconError("bad_version", f"a part of a version is an integer from 0 to {_MAX_PART}")

    @classmethod
    def from_bytes(cls, data: bytes) -> Version:
        """Read three bytes; raises BeaconError `bad_version`."""
        if len(data) != _PARTS:
            raise BeaconError("bad_version", f"a version has {_PARTS} bytes, not {len(data)}")
        return cls(*data)

    def encode(self) -> bytes:
        """The version as three bytes."""
        return bytes((self.major, self.minor, self.patch))


DRAFT = Version(0, 99, 99)
"""What the draft says of itself."""
