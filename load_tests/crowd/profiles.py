"""Who pays how much how often; and the bounds of every run: so many payers, so long, and only on this machine."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

MAX_PAYERS = 500
MAX_SECONDS = 3_600
MAX_SPAWN_RATE = 100


class RefusedError(Exception):
    """The run is not begun; the message says why."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Amounts and deposits in bytes, times in seconds. `pause_s`: between a receipt and the next payment, from and to.

    `payers`, `seconds` and `spawn_rate` (payers per second) hold where nobody says otherwise.
    """

    name: str
    what: str
    payers: int
    seconds: int
    amount: tuple[int, int]
    pause_s: tuple[float, float]
    deposit: int
    spawn_rate: float = 20
    wave_s: int = 0
    """0: all payers pay all the time. Else only a tenth of them do, but for the last third of every so many seconds."""

    def payers_at(self, now_s: float, payers: int) -> int:
        """How many of so many payers pay at this time of the run."""
        if not self.wave_s or now_s % self.wave_s >= self.wave_s * 2 / 3:
            return payers
        return max(1, payers // 10)


# A payer pays far less than half of his deposit: then it is he who bears the fees of the closing, and what the receiver
# gets is exactly what there are receipts for.
PROFILES = {
    profile.name: profile
    for profile in (
        Profile("steady", "the same payments all the time", 20, 60, (1, 2_000), (0.05, 0.15), 10**8),
        Profile("burst", "a few payers, and at times all at once", 60, 60, (1, 2_000), (0, 0.05), 10**8, 100, 15),
        Profile("many", "many payers of small amounts, each now and then", 200, 60, (1, 10), (2, 5), 10**7, 50),
        Profile("few", "few payers of big amounts, one after the other", 3, 60, (10**5, 10**6), (0, 0), 10**11),
    )
}


def profile_named(name: str | None) -> Profile:
    """Return a profile, `steady` without a name. Raises RefusedError."""
    try:
        return PROFILES[name or "steady"]
    except KeyError:
        raise RefusedError(f"there is no profile {name!r}; there are {', '.join(PROFILES)}") from None


def check_bounds(payers: int, seconds: float, spawn_rate: float) -> None:
    """Return if a run may be as large. Raises RefusedError."""
    for value, bound, what in (
        (payers, MAX_PAYERS, "payers"),
        (seconds, MAX_SECONDS, "seconds"),
        (spawn_rate, MAX_SPAWN_RATE, "new payers per second"),
    ):
        if not 0 < value <= bound:
            raise RefusedError(f"{value:g} {what}: from 1 to {bound} are allowed")


def check_loopback(url: str | None, *schemes: str) -> str:
    """Return the URL if it is one of this machine. Raises RefusedError: load is for one's own receiver only."""
    parts = urlsplit(url or "")
    if parts.scheme not in schemes or parts.hostname is None:
        wanted = " or ".join(f"{scheme}://" for scheme in schemes)
        raise RefusedError(f"{url!r} is no address that begins with {wanted}")
    if parts.hostname == "localhost" or _is_loopback(parts.hostname):
        return parts.geturl()
    raise RefusedError(f"{parts.hostname} is not this machine: load is put on loopback addresses only")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
