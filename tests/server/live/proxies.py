"""Real proxies on loopback, with and without TLS, that keep their connections to the server alive.

with proxy("nginx", folder, upstream="127.0.0.1:8080") as started:
    started.plain, started.tls       ->  ("127.0.0.1", 41234), ("127.0.0.1", 41235)
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.server.running import PATIENCE

Address = tuple[str, int]
SBIN = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
MISSING = "is not installed (Debian and Ubuntu: apt install nginx-light haproxy openssl)"

NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log warn; {user}
events {{ worker_connections 2000; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  upstream burgee {{ server {upstream}; keepalive 4; }}
  server {{
    listen {plain}; listen {tls} ssl; ssl_certificate {folder}/crt.pem; ssl_certificate_key {folder}/key.pem;
    client_header_timeout 2; client_body_timeout 2; lingering_close off;
    location / {{ proxy_pass http://burgee; proxy_http_version 1.1; proxy_set_header Connection ""; {buffering} }}
  }}
}}
"""

HAPROXY = """
global
  maxconn 2000
defaults
  mode http
  timeout connect 5s
  timeout client 2s
  timeout http-request 2s
  timeout server 30s
  option http-keep-alive
  http-reuse always
frontend clients
  bind {plain}
  bind {tls} ssl crt {folder}/both.pem
  default_backend burgee
backend burgee
  server one {upstream} pool-max-conn 4
"""


@dataclass(frozen=True)
class Proxy:
    plain: Address
    tls: Address
    certificate: Path
    process: subprocess.Popen[bytes]


def installed(name: str) -> str | None:
    return shutil.which(name, path=SBIN)


@contextmanager
def proxy(name: str, folder: Path, upstream: str) -> Iterator[Proxy]:
    """`upstream`: host:port, or the path of a Unix socket. nginx-unbuffered passes bodies on as they come."""
    program = name.partition("-")[0]
    binary = installed(program)
    assert binary is not None
    _make_certificate(folder)
    plain, tls = _free_port(), _free_port()
    unix = upstream.startswith("/")
    text = (NGINX if program == "nginx" else HAPROXY).format(
        folder=folder,
        upstream=(f"unix:{upstream}" if program == "nginx" else f"unix@{upstream}") if unix else upstream,
        plain=f"127.0.0.1:{plain}",
        tls=f"127.0.0.1:{tls}",
        user="user root;" if os.geteuid() == 0 else "",
        buffering="proxy_request_buffering off;" if name.endswith("-unbuffered") else "",
    )
    config = folder / f"{name}.conf"
    config.write_text(text)
    command = [binary, "-p", str(folder), "-c"] if program == "nginx" else [binary, "-db", "-f"]
    with (folder / f"{name}.out").open("wb") as out:
        process = subprocess.Popen([*command, str(config)], stdout=out, stderr=out)
    try:
        _wait_for(plain, process, folder / f"{name}.out")
        yield Proxy(("127.0.0.1", plain), ("127.0.0.1", tls), folder / "crt.pem", process)
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _make_certificate(folder: Path) -> None:
    key, certificate = folder / "key.pem", folder / "crt.pem"
    openssl = installed("openssl")
    assert openssl is not None
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    (folder / "both.pem").write_bytes(certificate.read_bytes() + key.read_bytes())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes], out: Path) -> None:
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up:
        assert process.poll() is None, out.read_text()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"it does not listen: {out.read_text()}")
