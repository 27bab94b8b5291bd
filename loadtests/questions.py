"""What a server is asked in measurements, with the answer that is right: one flag, all flags, a batch.

    question("batch", key)  ->  Question(path="/v1/evaluate", body=b'{"contexts": …}', evaluations=2000, …)
    question.message("127.0.0.1:8080")   the whole request, to be written to a socket

They are about the flags of benchmarks/flags.py, whose answers are known without Burgee.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from benchmarks import flags

FLAGS = 20
CONTEXTS = 100  # in a batch
SINGLE = "/ofrep/v1/evaluate/flags/"
BULK = "/ofrep/v1/evaluate/flags"
BATCH = "/v1/evaluate"

Kind = Literal["single", "bulk", "unchanged", "batch"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class WrongAnswer(AssertionError):
    """A server answered what it must not."""


@dataclass(frozen=True)
class Question:
    kind: Kind
    path: str
    body: bytes
    evaluations: int  # of flags, that one answer holds
    headers: Mapping[str, str]
    is_right: Callable[[bytes], bool] = field(repr=False)
    status: int = 200
    answer: bytes = field(default=b"", repr=False)  # once it is settled

    def message(self, host: str) -> bytes:
        lines = [f"POST {self.path} HTTP/1.1", f"Host: {host}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join((*lines, f"Content-Length: {len(self.body)}", "", "")).encode() + self.body


def question(kind: Kind, key: str, *, context: int = 0) -> Question:
    """`context` is the number of the context, or of the first one, among `benchmarks.flags.contexts()`.

    For `unchanged`, ask `settled` first: only the server knows the tag.
    """
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    answers, contexts = flags.answers(FLAGS), flags.contexts()
    context %= len(contexts)
    if kind == "single":
        number = context % FLAGS
        flag = flags.specs(FLAGS)[number].key
        right = answers[context][number]
        return Question(kind, SINGLE + flag, flags.bodies()[context], 1, headers, lambda body: _single(body) == right)
    if kind == "batch":
        chosen = [(context + each) % len(contexts) for each in range(CONTEXTS)]
        asked = {"contexts": [contexts[each] for each in chosen], "format": "compact"}
        wanted = [[value for value, _ in answers[each]] for each in chosen]
        body = json.dumps(asked, separators=(",", ":")).encode()
        return Question(kind, BATCH, body, CONTEXTS * FLAGS, headers, lambda body: compact_values(body) == wanted)
    return Question(
        kind, BULK, flags.bodies()[context], FLAGS, headers, lambda body: _bulk(body) == list(answers[context])
    )


def settled(asked: Question, url: str) -> Question:
    """The question with its answer, which was right once and stays the same; an `unchanged` one has its tag then."""
    first = ask(url, asked)
    if first.status != 200 or not asked.is_right(first.body):
        raise WrongAnswer(f"{asked.path}: {first.status} {first.body[:500]!r}")
    if asked.kind != "unchanged":
        return replace(asked, answer=first.body)
    tag = {"If-None-Match": first.headers["etag"]}
    again = replace(
        asked, headers={**asked.headers, **tag}, status=304, evaluations=0, is_right=lambda body: body == b""
    )
    second = ask(url, again)
    if second.status != 304 or second.body:
        raise WrongAnswer(f"{asked.path} with {tag}: {second.status} {second.body[:500]!r}")
    return again


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes


def ask(url: str, asked: Question) -> Answer:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    try:
        connection.request("POST", asked.path, asked.body, dict(asked.headers))
        reply = connection.getresponse()
        return Answer(reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read())
    finally:
        connection.close()


def compact_values(body: bytes | dict[str, Any]) -> list[list[Any]]:
    """Per context and flag, the values of a compact answer."""
    answer = json.loads(body) if isinstance(body, bytes) else body
    outcomes = answer["outcomes"]
    return [
        [outcomes[flag][index]["value"] if index >= 0 else None for flag, index in enumerate(row)]
        for row in answer["results"]
    ]


def _single(body: bytes) -> tuple[Any, Any]:
    answer = json.loads(body)
    return answer.get("value"), answer.get("reason")


def _bulk(body: bytes) -> list[tuple[Any, Any]]:
    by_key = {each["key"]: (each.get("value"), each.get("reason")) for each in json.loads(body)["flags"]}
    return [by_key[spec.key] for spec in flags.specs(FLAGS)] if len(by_key) == FLAGS else []
