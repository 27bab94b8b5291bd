"""Addresses of Redis, and that nothing that is said of one gives away its password."""

from __future__ import annotations

import asyncio

import pytest
import structlog

from server.sync.redis_client import FAILURES, AddressError, Attempts, RedisClient, parse_address, why
from tests.services import RedisServer

SECRET = "correct-horse"


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("redis://cache", "redis://cache:6379"),
        ("rediss://user:correct-horse@cache:6380/3?ca=/etc/ca.pem", "rediss://cache:6380"),
        ("redis://:correct-horse@[::1]:6380", "redis://[::1]:6380"),
        ("unix://user:correct-horse@/run/redis.sock", "unix:///run/redis.sock"),
        ("redis+sentinel://:correct-horse@a,b:7/mymaster/2", "redis+sentinel://a:26379,b:7/mymaster"),
        ("rediss+cluster://user:correct-horse@a,b:7", "rediss+cluster://a:6379,b:7"),
    ],
)
def test_addresses_are_read_and_shown_without_what_is_secret(text: str, plain: str) -> None:
    address = parse_address(text)
    assert str(address) == plain
    assert SECRET not in repr(address) and SECRET not in repr(RedisClient(address))
    assert (address.password == SECRET) is (SECRET in text)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "begins with none of its schemes"),
        ("cache:6379", "begins with none of its schemes"),
        ("http://:correct-horse@cache", "begins with none of its schemes"),
        ("redis+what://cache", "begins with none of its schemes"),
        ("redis://", "a host in the address of Redis is none"),
        ("redis://:correct-horse@a:port", "a host in the address of Redis is none"),
        ("redis://a:70000", "a port in the address of Redis is none"),
        ("redis://a,b", "one server of Redis has one host"),
        ("redis://a/web", "the database of Redis is not a number"),
        ("redis+sentinel://a,b", "the sentinels' name of the master is missing"),
        ("redis+cluster://a/1", "a cluster of Redis has database 0 only"),
        ("unix://", "has no path"),
        ("redis://a?password=correct-horse", "has an option `password`"),
        ("redis://[::1", "is not a URL"),
    ],
)
def test_bad_addresses_say_what_is_wrong_with_them(text: str, complaint: str) -> None:
    with pytest.raises(AddressError, match=complaint) as raised:
        parse_address(text)
    assert SECRET not in str(raised.value)


def test_a_refused_password_is_in_no_error(own_redis: RedisServer) -> None:
    async def asked(scheme: str) -> str:
        client = RedisClient(parse_address(f"{scheme}://burgee:{SECRET}@127.0.0.1:{own_redis.port}"))
        try:
            await client.ask("GET", "burgee:of")
        except FAILURES as error:
            return why(error)
        finally:
            await client.close()
        raise AssertionError("it was let in")

    for scheme in ("redis", "redis+cluster"):
        said = asyncio.run(asked(scheme))
        assert SECRET not in said and ("name or the password" in said or "cluster" in said), said


def test_a_redis_that_is_not_there_is_said_so_at_once() -> None:
    async def asked(address: str) -> str:
        client = RedisClient(parse_address(address))
        with pytest.raises(FAILURES) as raised:
            await client.ask("GET", "burgee:of")
        await client.close()
        return why(raised.value)

    assert asyncio.run(asked("redis://127.0.0.1:1")) == "Redis cannot be reached"
    assert asyncio.run(asked("unix:///nowhere/redis.sock")) == "Redis cannot be reached"
    assert asyncio.run(asked(f"redis+sentinel://:{SECRET}@127.0.0.1:1/m")) == "Redis cannot be reached"
    assert asyncio.run(asked("redis+cluster://127.0.0.1:1")) == "the cluster cannot be reached"


def test_trouble_that_lasts_is_said_once_a_minute_and_its_pauses_are_bounded() -> None:
    with structlog.testing.capture_logs() as lines:
        attempts = Attempts("the test")
        pauses = [attempts.failed("Redis cannot be reached") for _ in range(100)]
        attempts.worked()
    assert [each["log_level"] for each in lines] == ["warning", "info"]
    assert pauses[0] <= 0.15 and max(pauses) <= 1.5 and min(pauses[10:]) >= 0.5
