"""Are the database's records older than what was done with them? What `sluice doctor` says after a restore."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.store import instance
from shared.store.mark import mark_file_of, read_mark
from sluice.machine.findings import Finding, Verdict

if TYPE_CHECKING:
    from shared.settings import Settings
    from shared.store.database import Connection
    from shared.store.instance import Instance

_CHECK = "records"
_LET_THEM_CLOSE = (
    "no payments are taken and nothing is signed in them: let their peers close them, which pays everybody, and "
    "deposit again 15 minutes or more after the restore was noticed; or compare with the peers what was signed, and "
    "then run `sluice wallet trust-database CHANNEL...`"
)


async def check_books(conn: Connection, settings: Settings, here: Instance) -> Finding:
    """Compare the database with its mark, and tell what is left of a restore."""
    try:
        kept = read_mark(mark_file_of(settings.wallet_file, settings.network), here.own_address, here.network)
    except (OSError, ValueError) as error:
        return Finding(_CHECK, Verdict.WARN, f"the mark of the database: {error}", "see who may read and write it")
    if kept is not None and here.pulse < kept:
        found = f"the database is older than what was done with it (pulse {here.pulse}, was {kept})"
        advice = "if there is a newer backup restore that; else start the worker, which signs nothing on old records"
        return Finding(_CHECK, Verdict.FAIL, found, advice)
    if here.restored_at_s is None:
        return _unmarked(settings, here) if kept is None else Finding(_CHECK, Verdict.OK, "never restored")
    if here.watcher_age_s is None:
        found = f"restored: {here.restored_reason}"
        return Finding(_CHECK, Verdict.FAIL, found, "let the worker read the ledger first: is it in step with its hub?")
    if unsure := await instance.count_unsure(conn):
        found = f"restored; more may be signed in {unsure} of the channels than is known: {here.restored_reason}"
        return Finding(_CHECK, Verdict.FAIL, found, _LET_THEM_CLOSE)
    return Finding(_CHECK, Verdict.OK, "restored, and agreeing with the ledger since")


def _unmarked(settings: Settings, here: Instance) -> Finding:
    if not settings.wallet_file.exists():
        return Finding(_CHECK, Verdict.OK, "never restored, as far as this machine can know")
    found = f"there is no {mark_file_of(settings.wallet_file, settings.network)}"
    if here.watcher_age_s is not None and here.watcher_age_s <= settings.watcher_max_silence_s:
        # A worker is awake: it keeps its mark elsewhere, or only in its memory.
        advice = "if the worker runs on this machine, let it write files beside its wallet file"
    else:
        advice = "copy it from where the worker ran last: without it a worker takes the database for a restored one"
    return Finding(_CHECK, Verdict.WARN, found, advice)
