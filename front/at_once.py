"""Requests that a front carries out by itself, once for each Idempotency-Key. Those for the worker: `front.ordering`.

What is done and the answer to it are written in one transaction: either both are on record or neither. Of requests that
come at once with one key one is carried out; the others undo what they have begun and answer the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from front.ordering import key_reused
from shared.receiving.errors import database_errors
from shared.store import kept_answers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from front.ordering import Answer, Request
    from shared.store.database import Connection, Database
    from shared.store.kept_answers import Kept, RequestKey


class _OtherWasFirstError(Exception):
    """Another request under the same key was carried out at this very moment."""


async def carry_out_once(
    database: Database, request: Request, act: Callable[[Connection], Awaitable[Answer]]
) -> tuple[Answer, bool]:
    """Do what is asked for, in a transaction; return the answer, and whether it was given before.

    `act` only writes to the database: what it did may be undone. Raises Problem (422) and UnavailableError.
    """
    key = request.request_key
    with database_errors():
        if key is None:
            async with database.transaction() as conn:
                return await act(conn), False
        try:
            async with database.transaction() as conn:
                kept = await kept_answers.find(conn, key)
                if kept is not None:
                    return _again(key, kept), True
                return await _act_and_keep(conn, key, act), False
        except _OtherWasFirstError:
            async with database.connection() as conn:
                kept = await kept_answers.find(conn, key)
    if kept is None:
        raise key_reused()
    return _again(key, kept), True


async def _act_and_keep(conn: Connection, key: RequestKey, act: Callable[[Connection], Awaitable[Answer]]) -> Answer:
    answer = await act(conn)
    if not await kept_answers.add(conn, key, None, answer=answer):
        raise _OtherWasFirstError
    return answer


def _again(key: RequestKey, kept: Kept) -> Answer:
    if kept.request_hash != key.request_hash or kept.status is None or kept.body is None:
        raise key_reused()
    return kept.status, kept.body
