"""One webhook, called once: its address looked up once, checked, and connected to as it was found.

    await call(Call("https://ci.example/burgee", secret, "publish", "shop-42", body), allow)       204, or CallError

    POST /burgee
    Burgee-Event: publish
    Burgee-Delivery: shop-42
    Burgee-Signature: t=1795478400,v1=<HMAC-SHA256 of "1795478400." and the body, hexadecimal>

The name is not looked up again to connect, so it cannot lead elsewhere by then. Redirects are not followed; the body
of the answer is not read; no proxy of the environment is used.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from server.control.webhook_addresses import Network, whyever_not
from server.version import version

TIMEOUT: Final = 10.0  # seconds, for all of it
LOOKUP_TIMEOUT: Final = 5.0
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Call:
    url: str
    secret: str
    event: str
    id: str
    body: bytes


class CallError(Exception):
    """Why it did not arrive: without the URL, whose path may be a secret."""

    def __init__(self, why: str, *, again: bool) -> None:
        super().__init__(why)
        self.again = again  # is it worth another try?


async def call(what: Call, allow: Sequence[Network], *, timeout: float = TIMEOUT) -> int:
    """The status, a 2xx. Raises CallError."""
    url = urlsplit(what.url)
    host, port = url.hostname or "", url.port or _PORTS[url.scheme]
    address = await _address_of(host, port, allow)
    there = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    headers = {
        "Host": url.netloc,
        "Content-Type": "application/json",
        "User-Agent": f"burgee/{version()}",
        "Burgee-Event": what.event,
        "Burgee-Delivery": what.id,
        "Burgee-Signature": signature(what.secret, int(time.time()), what.body),
    }
    connector = aiohttp.TCPConnector(force_close=True, use_dns_cache=False)
    limits = aiohttp.ClientTimeout(total=timeout)
    try:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=limits, auto_decompress=False) as session,
            session.post(
                url._replace(netloc=there).geturl(),
                data=what.body,
                headers=headers,
                allow_redirects=False,
                server_hostname=host if url.scheme == "https" else None,
            ) as answer,
        ):
            status = answer.status
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        raise CallError(f"the connection failed: {type(error).__name__}", again=True) from None
    if not 200 <= status < 300:
        raise CallError(f"it answered {status}", again=status in (408, 425, 429) or status >= 500)
    return status


def signature(secret: str, at: int, body: bytes) -> str:
    """
    >>> signature("whsec_x", 1795478400, b"{}")[:24]
    't=1795478400,v1=a06636b6'
    """
    said = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={said}"


async def _address_of(host: str, port: int, allow: Sequence[Network]) -> str:
    """One that may be called: where a name has several, all of them may. Raises CallError."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(LOOKUP_TIMEOUT):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError):
        raise CallError("its host cannot be looked up", again=True) from None
    addresses = [str(each[4][0]) for each in found]
    for address in addresses:
        why = whyever_not(address, allow)
        if why is not None:
            raise CallError(f"nothing is sent there: {why} (hint: --webhook-allow)", again=False)
    if not addresses:
        raise CallError("its host has no address", again=True)
    return addresses[0]
