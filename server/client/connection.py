"""One connection to a control plane, and one request at a time on it: blocking, opened when it is needed.

Connection("http://127.0.0.1:8082").send("GET", "/api/v1/tenants", {}, None)      Answer(200, {…}, b"{…}")
"""

from __future__ import annotations

import contextlib
import http.client
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

from server.client.problems import ControlError

TIMEOUT = 60.0  # seconds without a byte: publishing a large document compiles it first


class NotSentError(Exception):
    """There was no connection: nothing was asked."""


class LostError(Exception):
    """The connection broke before the answer was there: what was asked may have been done, or not."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


class Connection:
    def __init__(self, url: str) -> None:
        """Raises ControlError for what is not the URL of a control plane."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        if host is None or parts.scheme not in ("http", "https") or parts.query or parts.fragment:
            raise ControlError(f"`{url}` is not the address of a control plane (hint: http://127.0.0.1:8082)")
        self.url = url.rstrip("/")
        self._prefix = parts.path.rstrip("/")
        self._http: http.client.HTTPConnection
        if parts.scheme == "https":
            self._http = http.client.HTTPSConnection(host, port, timeout=TIMEOUT, context=ssl.create_default_context())
        else:
            self._http = http.client.HTTPConnection(host, port, timeout=TIMEOUT)

    def send(
        self, method: str, target: str, headers: dict[str, str], body: bytes | None, *, timeout: float = TIMEOUT
    ) -> Answer:
        """Raises NotSentError and LostError. A certificate that is not trusted is a ControlError: it stays so."""
        self._http.timeout = timeout
        if self._http.sock is None:
            try:
                self._http.connect()
            except ssl.SSLCertVerificationError as error:
                raise ControlError(f"{self.url}: {error.verify_message}") from None
            except OSError as error:
                raise NotSentError((error.strerror or str(error) or type(error).__name__).lower()) from None
        else:
            self._http.sock.settimeout(timeout)
        try:
            self._http.request(method, self._prefix + target, body=body, headers=headers)
            response = self._http.getresponse()
            return Answer(
                response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
            )
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise LostError(str(error).lower() or type(error).__name__) from None
        except BaseException:
            self.close()  # between a request and its answer it is good for nothing more
            raise

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._http.close()
