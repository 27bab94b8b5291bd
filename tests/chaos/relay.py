"""Somebody between a host and its control plane: passes on what is asked and answered, and can make it newer.

with relay(control_port) as it:             a host's `--upstream` is it.url
    it.newer_records = True                 unknown members at the end of records, in listings and in events
    it.newer_snapshots = True               of a format that is not known here
"""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec

from server.sync.messages import EVENTS, PROJECTS, SNAPSHOTS

FORMAT_VERSION_AT = 8  # of a snapshot: u32, little-endian, after the magic; docs/snapshot.md


class Relay(ThreadingHTTPServer):
    daemon_threads = True
    newer_records = False
    newer_snapshots = False

    def __init__(self, control_port: int, address: tuple[str, int]) -> None:
        super().__init__(address, _Handler)
        self.control_port = control_port

    @property
    def url(self) -> str:
        return f"http://{self.server_address[0]!s}:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Relay

    def do_GET(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.control_port, timeout=60)
        sent = {"Authorization": self.headers["Authorization"], "Accept-Encoding": "identity"}
        try:
            connection.request("GET", self.path, headers=sent)
            reply = connection.getresponse()
            if self.path == EVENTS and reply.status == 200:
                self._stream(reply)
                return
            body = reply.read()
        except (OSError, http.client.HTTPException):
            self.close_connection = True
            return
        finally:
            connection.close()
        if reply.status == 200:
            body = self._newer(body)
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.headers["Content-Type"])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()

    def _newer(self, body: bytes) -> bytes:
        if self.path == PROJECTS and self.server.newer_records:
            return json.dumps(json.loads(body) | {"sharded": {"by": "tenant"}}).encode()
        if self.path.startswith(f"{PROJECTS}/") and self.server.newer_records:
            return msgspec.msgpack.encode(newer_record(msgspec.msgpack.decode(body)))
        if self.path.startswith(SNAPSHOTS) and self.server.newer_snapshots:
            return newer_snapshot(body)
        return body

    def _stream(self, reply: http.client.HTTPResponse) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.close_connection = True
        while line := reply.readline():
            if line.startswith(b"data:") and self.server.newer_records:
                line = b"data: " + json.dumps(json.loads(line[5:]) | {"reason": "publish"}).encode() + b"\n"
            self.wfile.write(line)
            self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None: ...


def newer_record(record: list[Any]) -> list[Any]:
    """Members that are not known here, at the end of it and of all that is in it."""
    for place in (2, 3):  # environments, keys
        record[place] = [[*each, "unknown", {"a": 1}] for each in record[place]]
    return [*record, {"of": "the future"}, 17]


def newer_snapshot(blob: bytes) -> bytes:
    version = int.from_bytes(blob[FORMAT_VERSION_AT : FORMAT_VERSION_AT + 4], "little")
    return blob[:FORMAT_VERSION_AT] + (version + 1).to_bytes(4, "little") + blob[FORMAT_VERSION_AT + 4 :]


@contextmanager
def relay(control_port: int, address: tuple[str, int] = ("127.0.0.1", 0)) -> Iterator[Relay]:
    server = Relay(control_port, address)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
