"""Which period is unsure after the database was restored to an earlier moment.

What was signed before the restore was noticed may be missing from our books; what was signed afterwards is not. So a
period is unsure exactly if the ledger has it begun, or it may have begun, before the doubt ends:

    the period current now             it is unsure
    began on the ledger, early enough  until the agent says that it is closed
    has not begun                      until the ledger was read beyond the end of doubt
    began later                        not
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.channels.model import Channel

UNCONFIRMED_S = 900
"""Seconds between a deposit that packages were already signed against and the agent's answer that begins the period."""


def unsure_period(
    channel: Channel, *, began_at_s: float | None, read_until_s: float | None, restored_at_s: float
) -> int:
    """Return the period that is unsure, 0 if none is.

    `began_at_s`: ledger time of the first event of the channel's current period, None while there is none.
    `read_until_s`: up to when the ledger is known to be read, None when it was not read since the restore.
    `restored_at_s`: when the restore was noticed.
    """
    in_doubt_until_s = restored_at_s + UNCONFIRMED_S
    may_have_begun_at_s = read_until_s if began_at_s is None else began_at_s
    if may_have_begun_at_s is None or may_have_begun_at_s <= in_doubt_until_s:
        return channel.current_period
    return 0
