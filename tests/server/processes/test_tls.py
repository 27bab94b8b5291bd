"""TLS of the data plane itself: the front and aiohttp over it, certificates renewed by SIGHUP, wrong ones refused."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.running import BULK, PATIENCE, ROOT, SHOP, Running, running, until

BODY = b'{"context":{"targetingKey":"u-1"}}'


def make_certificate(folder: Path, name: str = "localhost") -> tuple[Path, Path]:
    folder.mkdir(exist_ok=True)
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    return certificate, key


@pytest.fixture(scope="module")
def secured(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Path]]:
    certificate, key = make_certificate(tmp_path_factory.mktemp("tls"))
    state = ("--state", str(tmp_path_factory.mktemp("tls-state")))  # another server may serve the samples
    with running(samples, "--tls-certificate", str(certificate), "--tls-key", str(key), *state) as server:
        yield server, certificate


def connect(server: Running, certificate: Path, *protocols: str) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=str(certificate))
    context.set_alpn_protocols(protocols or ("http/1.1",))
    plain = socket.create_connection(server.address, timeout=PATIENCE)
    return context.wrap_socket(plain, server_hostname="localhost")


def request(path: str = f"{BULK}/new-checkout", *headers: str, body: bytes = BODY) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: a", f"Authorization: Bearer {SHOP}", "Content-Type: application/json"]
    lines += [f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def read_until(connection: socket.socket, holds: int) -> bytes:
    """So many answers."""
    found = b""
    while found.count(b"HTTP/1.1 ") < holds or not found.endswith(b"}"):
        part = connection.recv(1 << 16)
        if not part:
            break
        found += part
    return found


def test_the_front_answers_over_tls(secured: tuple[Running, Path]) -> None:
    with connect(*secured, "h2", "http/1.1") as connection:
        assert connection.selected_alpn_protocol() == "http/1.1"
        assert connection.version() in {"TLSv1.2", "TLSv1.3"}
        for _ in range(3):
            connection.sendall(request())
            answer = read_until(connection, 1)
            assert answer.startswith(b"HTTP/1.1 200") and b"Server: burgee" not in answer  # which aiohttp's have


def test_pipelined_requests_and_one_in_pieces(secured: tuple[Running, Path]) -> None:
    with connect(*secured) as connection:
        connection.sendall(request() * 100)
        assert read_until(connection, 100).count(b"HTTP/1.1 200") == 100
        for at in range(0, len(request()), 7):
            connection.sendall(request()[at : at + 7])
        assert read_until(connection, 1).startswith(b"HTTP/1.1 200")


def test_a_large_body_over_tls(secured: tuple[Running, Path]) -> None:
    body = json.dumps({"context": {"targetingKey": "u-1", "padding": "x" * 900_000}}).encode()
    with connect(*secured) as connection:
        connection.sendall(request(body=body))
        assert read_until(connection, 1).startswith(b"HTTP/1.1 200")


def test_aiohttp_takes_over_on_the_same_connection(secured: tuple[Running, Path]) -> None:
    with connect(*secured) as connection:
        connection.sendall(request() + request("/nothing-here") + request())
        answers = read_until(connection, 3)
        assert [part[:3] for part in answers.split(b"HTTP/1.1 ")[1:]] == [b"200", b"404", b"200"]
        assert b"Server: burgee" in answers


def test_what_is_not_tls_is_not_answered(secured: tuple[Running, Path]) -> None:
    assert b"HTTP/" not in secured[0].raw(request())
    with connect(*secured) as connection:  # and harms nobody
        connection.sendall(request())
        assert read_until(connection, 1).startswith(b"HTTP/1.1 200")


def test_a_new_certificate_is_taken_up_by_sighup_and_a_broken_one_is_not(samples: Path, tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path / "tls")
    copies = tmp_path / "copies"
    copies.mkdir()
    first, second = copies / "first.pem", copies / "second.pem"
    first.write_bytes(certificate.read_bytes())
    state = ("--state", str(tmp_path / "state"))
    with running(samples, "--tls-certificate", str(certificate), "--tls-key", str(key), *state) as server:
        kept = connect(server, first)

        def presents(expected: Path) -> bool:
            try:
                connect(server, expected).close()
            except ssl.SSLError:
                return False
            return True

        assert presents(first)
        make_certificate(tmp_path / "tls", "renewed")
        second.write_bytes(certificate.read_bytes())
        assert presents(first)
        server.process.send_signal(signal.SIGHUP)
        until(lambda: presents(second) and not presents(first))
        kept.close()
        certificate.write_text("no certificate")
        server.process.send_signal(signal.SIGHUP)
        until(lambda: b"no process is replaced" in server.log.read_bytes())
        until(lambda: presents(second))
        assert server.log.read_bytes().count(b"no process is replaced") == 1
        make_certificate(tmp_path / "tls", "third")  # and what was broken can be mended
        server.process.send_signal(signal.SIGHUP)
        until(lambda: presents(certificate))
        assert server.stop() == 0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("missing", "the certificate `CERTIFICATE` cannot be read: no such file or directory"),
        ("garbage", "`CERTIFICATE` has no certificate in PEM"),
        ("damaged", "the certificate `CERTIFICATE` and the key `KEY` cannot be used: one is damaged"),
        ("key missing", "the private key `KEY` cannot be read: no such file or directory"),
        ("key garbage", "`KEY` has no private key in PEM"),
        ("no key", "`CERTIFICATE` has no private key in PEM (hint: `--tls-key` names its file)"),
        ("another key", "cannot be used: the key is not that of the certificate"),
        ("key alone", "`--tls-key` needs `--tls-certificate`"),
        ("locked", "the key `KEY` cannot be used: the key needs a password"),
    ],
)
def test_a_certificate_that_cannot_be_used_is_said_at_the_start(
    tenants: Path, tmp_path: Path, wrong: str, said: str
) -> None:
    certificate, key = make_certificate(tmp_path / "tls")
    if wrong == "missing":
        certificate.unlink()
    elif wrong == "garbage":
        certificate.write_text("no certificate")
    elif wrong == "damaged":
        lines = certificate.read_text().splitlines()
        certificate.write_text("\n".join([*lines[:3], "@", *lines[4:]]))
    elif wrong == "key missing":
        key.unlink()
    elif wrong == "key garbage":
        key.write_bytes(certificate.read_bytes())
    elif wrong == "another key":
        key = make_certificate(tmp_path / "other")[1]
    elif wrong == "locked":
        command = ["openssl", "ec", "-in", str(key), "-out", f"{key}.locked", "-aes128", "-passout", "pass:secret"]
        subprocess.run(command, check=True, capture_output=True)
        key = Path(f"{key}.locked")
    command = [sys.executable, "-m", "server.cli", "serve", "--tenants", str(tenants), "--port", "0"]
    command += ["--management-port", "0", "--state", str(tmp_path / "state"), "--json"]
    if wrong != "no key":
        command += ["--tls-key", str(key)]
    if wrong != "key alone":
        command += ["--tls-certificate", str(certificate)]
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE, cwd=ROOT, check=False, stdin=subprocess.DEVNULL
    )
    assert ended.returncode != 0 and "Traceback" not in ended.stderr
    assert said.replace("CERTIFICATE", str(certificate)).replace("KEY", str(key)) in ended.stdout + ended.stderr
