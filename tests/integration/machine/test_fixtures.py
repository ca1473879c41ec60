from __future__ import annotations

import psycopg
import redis


def test_a_test_gets_a_migrated_database_of_its_own(database_url: str, postgres_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT current_database(), to_regclass('payments')").fetchone()
    assert row is not None
    assert row[0].startswith("test_")
    assert row[1] == "payments"


def test_a_test_gets_an_empty_redis(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
