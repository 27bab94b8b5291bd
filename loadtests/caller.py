"""A locust user that says what a right answer is: a wrong one is a failure, not a fast success.

    self.ask("bulk", BULK, body, key, lambda answer: None if … else "what is wrong with it")

It also records each request for the report, where BURGEE_LOAD_RECORD names a file.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from locust import FastHttpUser, events

from loadtests.recording import Recorder
from loadtests.tenants import Keys

Check = Callable[[Any], str | None]
"""The answer (FastResponse: status_code, headers, content) -> what is wrong with it, or None"""


@cache
def folder() -> Path:
    """Where `loadtests.tenants` has written the tenants that the server serves."""
    if "BURGEE_LOAD" not in os.environ:
        raise RuntimeError("BURGEE_LOAD names no folder (hint: python -m loadtests.tenants FOLDER makes one)")
    return Path(os.environ["BURGEE_LOAD"])


@cache
def keys() -> Mapping[str, Keys]:
    made: dict[str, Keys] = json.loads((folder() / "keys.json").read_text())
    return made


class Caller(FastHttpUser):
    abstract = True
    network_timeout = 30.0
    connection_timeout = 30.0

    def ask(
        self,
        name: str,
        path: str,
        body: bytes,
        key: str,
        check: Check,
        *,
        status: int | tuple[int, ...] = 200,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """The answer; `check` sees it only when its status is as wanted. `name` stands in the statistics, with the
        status where several are right."""
        wanted = status if isinstance(status, tuple) else (status,)
        sent = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", **(headers or {})}
        with self.client.post(path, data=body, headers=sent, name=name, catch_response=True) as answer:
            if len(wanted) > 1:
                answer.request_meta["name"] = f"{name}: {answer.status_code}"
            if answer.status_code not in wanted:
                answer.failure(f"{answer.status_code} instead of {status}: {(answer.content or b'')[:200]!r}")
                return answer
            try:
                wrong = check(answer)
            except (ValueError, KeyError, IndexError, TypeError) as error:  # not even of that shape
                wrong = f"{type(error).__name__}: {error}"
            if wrong:
                answer.failure(wrong)
            else:
                answer.success()  # statuses that locust would not take for one, too
        return answer


def _record(path: Path) -> None:
    recorder = Recorder()

    @events.request.add_listener
    def add(
        request_type: str, name: str, response_time: float, exception: BaseException | str | None = None, **_: Any
    ) -> None:
        failure = str(exception) if exception else ""
        is_request = request_type == "POST"
        recorder.add(name, time.time(), response_time / 1e3, failure=failure, is_request=is_request)

    @events.quitting.add_listener
    def save(**_: Any) -> None:
        recorder.save(path)


if "BURGEE_LOAD_RECORD" in os.environ:
    _record(Path(os.environ["BURGEE_LOAD_RECORD"]))
