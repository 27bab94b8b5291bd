"""A client of Redis from one address, whatever kind of Redis that is.

    redis://cache:6379/0                               one server; rediss:// with TLS
    unix:///run/redis/redis.sock                       the same, by a socket
    redis+sentinel://s1:26379,s2:26379/mymaster        whichever server the sentinels call master
    redis+cluster://c1:6379,c2:6379                    a cluster

    redis = RedisClient(parse_address("redis+sentinel://burgee:secret@s1,s2/mymaster"))
    await redis.ask("HGETALL", "burgee:listing")       {b"shop/web": b"18"}

INVARIANT: no text that comes from here has a name or a password of the address in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import redis.exceptions
import structlog
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.client import PubSub
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import EqualJitterBackoff

CONNECT_TIMEOUT: Final = 1.0  # seconds
ANSWER_TIMEOUT: Final = 2.0  # seconds of silence in the middle of an answer
PATIENCE: Final = 6.0  # seconds for a command, with all that is tried again
ASKED_AT_ONCE: Final = 16  # commands of one client
HEALTH_CHECK: Final = 5  # seconds of idleness after which a connection is tried before it is used
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 1.0  # seconds between two attempts; doubled, and jittered
SAY_AGAIN: Final = 60.0  # seconds between two lines of the log about the same trouble

FAILURES: Final = (redis.exceptions.RedisError, redis.exceptions.RedisClusterException, OSError, TimeoutError)

_HINT = "(hint: redis://host:6379/0, rediss://…, unix:///path, redis+sentinel://host,host/master, redis+cluster://host,host)"
_OPTIONS = frozenset({"ca", "certificate", "key", "sentinel_username", "sentinel_password"})
_HOST = re.compile(r"\[(?P<v6>[0-9A-Fa-f:.]+)\](?::(?P<port6>\d+))?|(?P<host>[^:\[\]\s]+)(?::(?P<port>\d+))?")

Kind = Literal["server", "sentinel", "cluster"]


class AddressError(ValueError):
    """It is no address of a Redis: what is wrong, and what would be one."""


@dataclass(frozen=True, slots=True)
class Address:
    kind: Kind
    nodes: tuple[tuple[str, int], ...] = ()
    path: str = ""  # of a socket
    master: str = ""  # the sentinels' name of it
    database: int = 0
    tls: bool = False
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    options: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        """Without what is secret."""
        if self.path:
            return f"unix://{self.path}"
        scheme = ("rediss" if self.tls else "redis") + ("" if self.kind == "server" else f"+{self.kind}")
        nodes = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.nodes)
        return f"{scheme}://{nodes}" + (f"/{self.master}" if self.master else "")


def parse_address(text: str) -> Address:
    """Raises AddressError.

    >>> str(parse_address("redis+sentinel://:secret@one,two:26380/mymaster"))
    'redis+sentinel://one:26379,two:26380/mymaster'
    """
    try:
        parts = urlsplit(text.strip())
        query = dict(parse_qsl(parts.query, strict_parsing=True)) if parts.query else {}
    except ValueError:
        raise AddressError(f"the address of Redis is not a URL {_HINT}") from None
    scheme, _, suffix = parts.scheme.partition("+")
    if (scheme, suffix) not in {("unix", ""), *((each, kind) for each in ("redis", "rediss") for kind in _KINDS)}:
        raise AddressError(f"the address of Redis begins with none of its schemes {_HINT}")
    if unknown := query.keys() - _OPTIONS:
        raise AddressError(f"the address of Redis has an option `{min(unknown)}` (hint: {', '.join(sorted(_OPTIONS))})")
    user, _, secret = parts.netloc.rpartition("@")[0].partition(":")
    username, password = unquote(user) or None, unquote(secret) or None
    if scheme == "unix":
        if not parts.path.strip("/"):
            raise AddressError("the address of Redis has no path (hint: unix:///run/redis/redis.sock)")
        return Address("server", path=unquote(parts.path), username=username, password=password)
    kind = _KINDS[suffix]
    nodes = _nodes(parts, 26379 if kind == "sentinel" else 6379)
    if kind == "server" and len(nodes) > 1:
        raise AddressError("one server of Redis has one host (hint: redis+sentinel:// or redis+cluster:// have more)")
    path = [unquote(each) for each in parts.path.split("/") if each]
    master = path.pop(0) if kind == "sentinel" and path else ""
    if kind == "sentinel" and not master:
        raise AddressError("the sentinels' name of the master is missing (hint: redis+sentinel://host,host/mymaster)")
    if len(path) > 1 or (path and not (path[0].isascii() and path[0].isdigit())):
        raise AddressError("the database of Redis is not a number (hint: redis://host:6379/0)")
    database = int(path[0]) if path else 0
    if kind == "cluster" and database:
        raise AddressError("a cluster of Redis has database 0 only")
    tls = scheme == "rediss"
    return Address(kind, nodes, "", master, database, tls, username, password, query)


_KINDS: Final[Mapping[str, Kind]] = {"": "server", "sentinel": "sentinel", "cluster": "cluster"}


def _nodes(parts: SplitResult, port: int) -> tuple[tuple[str, int], ...]:
    nodes = []
    for each in parts.netloc.rpartition("@")[2].split(","):
        found = _HOST.fullmatch(each)
        if found is None:
            raise AddressError(f"a host in the address of Redis is none {_HINT}")
        number = int(found["port"] or found["port6"] or port)
        if not 0 < number < 65536:
            raise AddressError("a port in the address of Redis is none (hint: 1 to 65535)")
        nodes.append((found["host"] or found["v6"], number))
    return tuple(nodes)


class RedisClient:
    """Made without a connection: the first command makes one."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._turns = asyncio.Semaphore(ASKED_AT_ONCE)
        self._sentinel: Sentinel | None = None
        self._client: Any = self._made()  # Redis, or RedisCluster: the types of their commands say little

    async def ask(self, *words: str | bytes | int) -> Any:
        """The answer to a command. Raises what is in FAILURES.

        It may have been done twice, or done although it failed: ask only for what can be.
        """
        more = {"target_nodes": RedisCluster.RANDOM} if words[0] == "PUBLISH" and self._is_cluster else {}
        async with self._turns, asyncio.timeout(PATIENCE):
            return await self._client.execute_command(*words, **more)

    @contextlib.asynccontextmanager
    async def subscription(self, channel: str) -> AsyncIterator[PubSub]:
        """On a connection of its own. A message of type `subscribe` says that it begins, or begins again."""
        client, own = self._client, None
        if self._is_cluster:  # whatever is published anywhere in a cluster is heard at every node
            async with asyncio.timeout(PATIENCE):
                await client.initialize()
            node = random.choice(client.get_primaries())
            client = own = Redis(host=node.host, port=node.port, **self._options())
        pubsub: PubSub = client.pubsub()
        try:
            async with asyncio.timeout(PATIENCE):
                await pubsub.subscribe(channel)
            yield pubsub
        finally:
            with contextlib.suppress(*FAILURES):
                await pubsub.aclose()  # type: ignore[no-untyped-call]
                if own is not None:
                    await own.aclose()

    async def close(self) -> None:
        with contextlib.suppress(*FAILURES):
            await self._client.aclose()
            if self._sentinel is not None:
                await self._sentinel.aclose()

    @property
    def _is_cluster(self) -> bool:
        return self.address.kind == "cluster"

    def _made(self) -> Redis | RedisCluster:
        options = self._options()
        address = self.address
        if address.kind == "cluster":
            nodes = [ClusterNode(*each) for each in address.nodes]
            return RedisCluster(startup_nodes=nodes, dynamic_startup_nodes=False, max_connections=64, **options)
        options["max_connections"] = 2 * ASKED_AT_ONCE
        if address.kind == "sentinel":
            own = options | {
                "username": address.options.get("sentinel_username"),
                "password": address.options.get("sentinel_password"),
            }
            self._sentinel = Sentinel(address.nodes, sentinel_kwargs=own, db=address.database, **options)  # type: ignore[no-untyped-call]
            client: Redis = self._sentinel.master_for(address.master)
            return client
        if address.path:
            options.pop("socket_connect_timeout")
            return Redis(unix_socket_path=address.path, **options)
        [(host, port)] = address.nodes
        return Redis(host=host, port=port, db=address.database, **options)

    def _options(self) -> dict[str, Any]:
        address = self.address
        options: dict[str, Any] = {
            "username": address.username,
            "password": address.password,
            "socket_timeout": ANSWER_TIMEOUT,
            "socket_connect_timeout": CONNECT_TIMEOUT,
            "health_check_interval": HEALTH_CHECK,
            "retry": Retry(EqualJitterBackoff(cap=0.2, base=0.02), 1),
            "protocol": 2,  # all of it is known to every Redis
        }
        if address.tls:
            options |= {
                "ssl": True,
                "ssl_ca_certs": address.options.get("ca"),
                "ssl_certfile": address.options.get("certificate"),
                "ssl_keyfile": address.options.get("key"),
            }
        return options


def why(error: BaseException) -> str:
    """A line for people and logs, by the kind of error: the texts of some name the connection with its password."""
    for kind, text in _WHY:
        if isinstance(error, kind):
            return text
    return f"Redis answers with an error ({type(error).__name__})"


_WHY: Final = (
    (redis.exceptions.BusyLoadingError, "Redis is still loading its data"),
    (redis.exceptions.AuthenticationError, "Redis refuses the name or the password"),
    (redis.exceptions.AuthorizationError, "Redis refuses the name or the password"),
    (redis.exceptions.AuthenticationWrongNumberOfArgsError, "Redis refuses the name or the password"),
    (redis.exceptions.MaxConnectionsError, "all connections to Redis are in use"),
    (redis.exceptions.NoPermissionError, "the user may not do that in Redis (hint: ACL, docs/operations.md)"),
    (redis.exceptions.OutOfMemoryError, "Redis is at its maxmemory"),
    (redis.exceptions.ReadOnlyError, "that Redis is a replica"),
    (redis.exceptions.ClusterDownError, "the cluster is down"),
    (redis.exceptions.SlotNotCoveredError, "the cluster does not cover all slots"),
    (redis.exceptions.RedisClusterException, "the cluster cannot be reached"),
    (redis.exceptions.TimeoutError, "Redis does not answer in time"),
    (TimeoutError, "Redis does not answer in time"),
    (redis.exceptions.ConnectionError, "Redis cannot be reached"),
    (OSError, "Redis cannot be reached"),
)


def go_on() -> None:
    """Raises CancelledError in a task that was cancelled while something beneath it took that for a failure."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


class Attempts:
    """How soon to try again what fails, and how often to say so.

    pause = attempts.failed("Redis cannot be reached")      0.05 s to 0.15 s, the next ones longer, at most 1.5 s
    attempts.worked()
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._pause = FIRST_PAUSE
        self._said = 0.0  # monotonic
        self._reason = ""
        self._failures = 0
        self._log = structlog.get_logger("redis")

    @property
    def failing(self) -> bool:
        return self._failures > 0

    def failed(self, reason: str) -> float:
        self._failures += 1
        now = time.monotonic()
        if reason != self._reason or now - self._said >= SAY_AGAIN:
            if not self._said or now - self._said >= 1:  # two reasons that alternate do not fill the log
                self._log.warning(f"{self._what} fails; it is tried again", why=reason, failures=self._failures)
                self._said = now
            self._reason = reason
        pause, self._pause = self._pause, min(LONGEST_PAUSE, 2 * self._pause)
        return pause * random.uniform(0.5, 1.5)

    def worked(self) -> None:
        if self._failures:
            self._log.info(f"{self._what} works again", failures=self._failures)
        self._failures, self._pause, self._reason, self._said = 0, FIRST_PAUSE, "", 0.0
