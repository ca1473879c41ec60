"""Two spellings for each method of a plugin: Python's, and the RFC's, that code ported from JavaScript uses.

Whichever of the two a class defines, both reach it: on the class that defines it, on those below, and when it came
from a mixin. They are aliases and not calls of each other, so `super().sendData(…)` goes up and never in a circle.
"""

from __future__ import annotations

from typing import Final

SPELLINGS: Final = {
    "is_connected": "isConnected",
    "send_data": "sendData",
    "send_money": "sendMoney",
    "register_data_handler": "registerDataHandler",
    "deregister_data_handler": "deregisterDataHandler",
    "register_money_handler": "registerMoneyHandler",
    "deregister_money_handler": "deregisterMoneyHandler",
}
"""Python's spelling to the RFC's; `connect`, `disconnect`, `on`, `once` and `off` are spelled alike."""


def bind_spellings(cls: type) -> None:
    """Make both spellings of each method reach the nearest definition of either (LPI-2)."""
    for ours, rfcs in SPELLINGS.items():
        for ancestor in cls.__mro__:
            found = [ancestor.__dict__[name] for name in (ours, rfcs) if name in ancestor.__dict__]
            if found:
                setattr(cls, ours, found[0])
                setattr(cls, rfcs, found[-1])
                break
