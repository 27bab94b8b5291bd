"""Edges: what another Burgee has, one hop away and two, and what they make of an upstream that talks nonsense."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from server.types import KeyKind
from tests.server.conftest import add_key
from tests.server.running import request_of, until
from tests.server.sync.servers import Burgee, burgee, folder_with


class Between(ThreadingHTTPServer):
    """In front of an upstream: passes on what is asked, or answers with what it is told to, one after the other."""

    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = upstream
        self.instead: list[tuple[int, str, bytes]] = []  # status, media type, body
        self.said = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Between

    def do_GET(self) -> None:
        if self.path == "/v1/sync/events":
            self.send_error(503)  # so that all depends on listings
            return
        if self.server.instead:
            status, kind, body = self.server.instead[self.server.said % len(self.server.instead)]
            headers = {"Content-Type": kind}
            self.server.said += 1
        else:
            sent = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
            reply = request_of(self.server.upstream, "GET", self.path, None, sent)
            status, body = reply.status, reply.body
            wanted = ("content-type", "content-encoding", "etag", "burgee-number")
            headers = {name: value for name, value in reply.headers.items() if name in wanted}
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if status != 304:
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Not on the terminal."""


@contextlib.contextmanager
def between(upstream: str) -> Iterator[Between]:
    server = Between(upstream)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def central(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Burgee, str]]:
    home = tmp_path_factory.mktemp("central")
    key = folder_with("one", home / "tenants")
    with burgee(home / "state", "serve", "--import", str(home / "tenants")) as server:
        yield server, key


def upstream(url: str, tmp_path: Path, *edge_keys: str) -> tuple[str, ...]:
    path = tmp_path / "edge.keys"
    path.write_text("# for this edge\n" + "\n".join(edge_keys) + "\n")
    return "--upstream", url, "--upstream-key-file", str(path)


def test_one_hop_and_two(central: tuple[Burgee, str], tmp_path: Path) -> None:
    server, key = central
    options = upstream(server.control, tmp_path, server.edge_key(environments=["default"]))
    with burgee(tmp_path / "edge", "edge", *options) as edge:
        until(lambda: edge.word(key) == server.word(key))
        further = upstream(edge.running.data, tmp_path, *(tmp_path / "edge.keys").read_text().splitlines()[1:])
        with burgee(tmp_path / "further", "edge", *further) as far:
            version = server.publish("far away")
            until(lambda: far.words_of_all(key) == {"far away"})
            assert edge.words_of_all(key) == {"far away"}
            assert far.ask(key).headers["burgee-version"] == str(version)
            assert far.metric("burgee_sync_fetched_total") >= 2
            assert edge.running.stop() == 0
            assert far.words_of_all(key) == {"far away"}


def test_an_edge_begins_with_what_is_on_disk(central: tuple[Burgee, str], tmp_path: Path) -> None:
    server, key = central
    word = server.word(key)
    with socket.create_server(("127.0.0.1", 0)) as taken:  # where nobody listens, a moment later
        nowhere = f"http://127.0.0.1:{taken.getsockname()[1]}"
    state = tmp_path / "edge"
    options = upstream(server.control, tmp_path, server.edge_key())
    with burgee(state, "edge", *options) as edge:
        assert edge.word(key) == word
        assert edge.running.stop() == 0
    with burgee(state, "edge", *upstream(nowhere, tmp_path, "burgee_edge_x")) as edge:
        assert edge.words_of_all(key) == {word}
        assert edge.running.manage("/readyz").status == 200
        assert "nothing can be compared" in edge.status()["lastError"]["message"]


def test_a_cold_start_with_nothing_is_never_an_empty_answer(tmp_path: Path, central: tuple[Burgee, str]) -> None:
    _, key = central
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nowhere = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with burgee(tmp_path / "edge", "edge", *upstream(nowhere, tmp_path, "x"), loaded=False) as edge:
        until(lambda: edge.word(key) == 503)
        assert edge.running.manage("/readyz").status == 503
        until(lambda: edge.status()["lastError"])
        assert edge.words_of_all(key) == {503}


NONSENSE = {
    "401": (401, "application/json", b'{"errorDetails":"the key is not valid"}'),
    "403": (403, "application/json", b"{}"),
    "404": (404, "application/json", b"{}"),
    "500": (500, "text/plain", b"oops"),
    "nothing": (200, "application/json", b""),
    "an empty listing": (200, "application/json", b'{"epoch":0,"projects":{}}'),
    "an empty listing of its own": (200, "application/json", b'{"epoch":0,"projects":{},"source":"SOURCE"}'),
    "an older listing": (200, "application/json", b'{"epoch":0,"projects":{"acme/app":1},"source":"SOURCE"}'),
    "HTML": (200, "text/html", b"<html><body>Please log in</body></html>"),
    "HTML that says it is JSON": (200, "application/json", b"<html></html>"),
    "garbage": (200, "application/json", bytes(range(256)) * 100),
    "a redirect": (302, "text/html", b""),
}


def test_nonsense_deletes_nothing(central: tuple[Burgee, str], tmp_path: Path) -> None:
    server, key = central
    with between(server.control) as proxy:
        keys = [server.edge_key() for _ in range(5)]  # a listing for each: 12 kinds of nonsense, 5 at once
        with burgee(tmp_path / "edge", "edge", *upstream(proxy.url, tmp_path, *keys)) as edge:
            server.publish("kept")
            until(lambda: edge.words_of_all(key) == {"kept"})
            source = (tmp_path / "edge" / "source").read_text().strip().encode()
            proxy.instead = [
                (status, kind, body.replace(b"SOURCE", source)) for status, kind, body in NONSENSE.values()
            ]
            until(lambda: edge.words_of_all(key) != {"kept"} or proxy.said > 2 * len(NONSENSE))
            assert edge.words_of_all(key) == {"kept"}
            proxy.instead = [NONSENSE["401"]]
            until(lambda: edge.running.status_of("acme/app/default")["ageSeconds"] > 1)
            assert edge.words_of_all(key) == {"kept"}
            proxy.instead = []
            server.publish("heard again")
            until(lambda: edge.words_of_all(key) == {"heard again"})
            until(lambda: edge.running.status_of("acme/app/default")["ageSeconds"] < 4)
            assert edge.status()["lastError"] is None


def test_several_keys_and_one_that_is_revoked(central: tuple[Burgee, str], tmp_path: Path) -> None:
    server, key = central
    good, revoked = server.edge_key(), server.edge_key()
    selector = revoked.split("_")[2]
    path = f"/api/v1/tenants/acme/keys/{selector}"
    etag = server.admin("GET", path).headers["etag"]
    assert server.admin("POST", f"{path}/revoke", {}, **{"If-Match": etag}).status == 200
    with burgee(tmp_path / "edge", "edge", *upstream(server.control, tmp_path, good, revoked)) as edge:
        server.publish("by the good one")
        until(lambda: edge.words_of_all(key) == {"by the good one"})
        assert "a part cannot be compared" in edge.status()["lastError"]["message"]


def test_a_folder_serves_edges_too(tmp_path: Path) -> None:
    tenants = tmp_path / "tenants"
    key = folder_with("one", tenants)
    edge_key = add_key(tenants, kind=KeyKind.EDGE)
    quick = ("--poll-interval", "0.05", "--settle-time", "0.02")
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(burgee(tmp_path / "state", "serve", "--tenants", str(tenants), *quick))
        options = upstream(server.running.data, tmp_path, edge_key)
        edge = stack.enter_context(burgee(tmp_path / "edge", "edge", *options))
        assert edge.words_of_all(key) == {"one"}
        another = add_key(tenants)  # keys travel as documents do
        until(lambda: edge.word(another) == "one")
