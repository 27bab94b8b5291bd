"""Does the engine say what the oracle says, whichever way it is asked?

    disagreements(document, [(context, now), …])
    -> [Disagreement("evaluate_json, bulk", "checkout", context, now, expected=…, found=…), …]

The ways: one flag, all flags; a mapping, a prepared context, JSON; single, bulk, batch (`full`, `compact`,
MessagePack); and the explanation. `smallest` cuts a failing pair down before a person has to look at it.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from engine import Explanation, Snapshot
from rules_compiler import CompileError, compile_flags
from tests import reference
from tests.front_end import lowered

Ask = tuple[dict[str, Any], int]  # a context and a time
Answers = dict[str, "Normal"]


@dataclass(frozen=True)
class Normal:
    """An answer, from wherever it came. The value is JSON text, so that `1`, `1.0` and `true` differ."""

    value: str | None
    variant: str | None
    reason: str
    error_code: str | None
    cause: str | None = None
    prerequisite: str | None = None


@dataclass(frozen=True)
class Disagreement:
    way: str
    flag: str
    context: dict[str, Any]
    now: int
    expected: object
    found: object


def disagreements(document: dict[str, Any], asks: Sequence[Ask], environment: str | None = None) -> list[Disagreement]:
    """Raises CompileError where the document does not compile."""
    oracle = lowered(document, environment)
    snapshot = Snapshot.from_bytes(compile_flags(document, environment=environment, version=7))
    expected = [
        {key: normal(answer) for key, answer in reference.evaluate_all(oracle, context, now).items()}
        for context, now in asks
    ]
    found: list[Disagreement] = []
    for number, (context, now) in enumerate(asks):
        for way, answers in ways(snapshot, context, now):
            found.extend(_compared(way, (context, now), expected[number], answers))
    # a batch has one time for all its contexts
    for now in dict.fromkeys(now for _, now in asks):
        numbers = [n for n, (context, at) in enumerate(asks) if at == now and is_json(context)]
        contexts = [asks[n][0] for n in numbers]
        for way, listed in batches(snapshot, contexts, now) if contexts else ():
            for number, answers in zip(numbers, listed, strict=True):
                found.extend(_compared(way, asks[number], expected[number], answers))
    return found


def _compared(way: str, ask: Ask, expected: Answers, found: Answers) -> Iterator[Disagreement]:
    for key in expected.keys() | found.keys():
        if expected.get(key) != found.get(key):
            yield Disagreement(way, key, *ask, expected.get(key), found.get(key))


# The ways to ask


def ways(snapshot: Snapshot, context: dict[str, Any], now: int) -> Iterator[tuple[str, Answers]]:
    keys = snapshot.flag_keys
    prepared = snapshot.prepare(context)
    yield "evaluate, mapping", {key: normal(snapshot.evaluate(key, context, now=now)) for key in keys}
    yield "evaluate, prepared", {key: normal(snapshot.evaluate(key, prepared, now=now)) for key in keys}
    for name, asked in (("mapping", context), ("prepared", prepared)):
        answers = snapshot.evaluate_all(asked, now=now)
        yield f"evaluate_all, {name}", {key: normal(answer) for key, answer in answers.items()}
    explanations = {key: snapshot.explain(key, context, now=now) for key in keys}
    yield "explain", {key: normal(explanation) for key, explanation in explanations.items()}
    yield "explain, its own walk", {key: walked(explanation) for key, explanation in explanations.items()}
    if is_json(context):
        body = request(context, random.Random(now))
        yield "evaluate_json, bulk", bulk(snapshot.evaluate_json(body, now=now))
        single = {key: json.loads(snapshot.evaluate_json(body, key, now=now)) for key in keys}
        yield "evaluate_json, single", {key: normal_json(answer) for key, answer in single.items()}


def is_json(context: dict[str, Any]) -> bool:
    """JSON can write it, and the reader reads it: no NaN, no lone surrogate."""
    try:
        json.dumps(context, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError):
        return False
    return True


def request(context: dict[str, Any], rng: random.Random) -> bytes:
    """A request body, spelled in one of the ways JSON allows."""
    return json.dumps(
        {"context": context},
        ensure_ascii=rng.random() < 0.5,
        indent=rng.choice((None, None, 1, "\t")),
        separators=rng.choice((None, (",", ":"), (" , ", " : "))),
    ).encode()


def batches(snapshot: Snapshot, contexts: Sequence[dict[str, Any]], now: int) -> Iterator[tuple[str, list[Answers]]]:
    """docs/batch.md: all flags in each style and encoding; then named ones, backwards, and one that does not exist."""
    for style, read in (("full", read_full), ("compact", read_compact)):
        body = json.dumps({"contexts": contexts, "format": style}).encode()
        yield f"evaluate_batch, {style}", read(json.loads(snapshot.evaluate_batch(body, now=now)))
        packed = snapshot.evaluate_batch(body, encoding="msgpack", now=now)
        yield f"evaluate_batch, {style}, MessagePack", read(msgspec.msgpack.decode(packed))

        names = [*reversed(snapshot.flag_keys), "no.such.flag"]
        body = json.dumps({"flags": names, "contexts": contexts, "format": style}).encode()
        named = read(json.loads(snapshot.evaluate_batch(body, now=now)))
        for answers in named:
            assert list(answers) == names
            assert answers.pop("no.such.flag") == Normal(None, None, "ERROR", "FLAG_NOT_FOUND")
        yield f"evaluate_batch, {style}, named flags", named


def read_full(reply: dict[str, Any]) -> list[Answers]:
    return [{item["key"]: normal_json(item) for item in result["flags"]} for result in reply["results"]]


def read_compact(reply: dict[str, Any]) -> list[Answers]:
    missing_key = {"errorCode": "TARGETING_KEY_MISSING"}
    return [
        {
            key: normal_json(missing_key if index == -1 else outcomes[index])
            for key, outcomes, index in zip(reply["flags"], reply["outcomes"], indices, strict=True)
        }
        for indices in reply["results"]
    ]


# Answers in one form


def normal(answer: Any) -> Normal:
    """Of an oracle's Answer, an Evaluation or an Explanation."""
    value = None if answer.variant is None else json.dumps(answer.value, sort_keys=True)
    assert answer.variant is not None or answer.value is None
    cause, prerequisite = answer.metadata.get("cause"), answer.metadata.get("prerequisite")
    return Normal(value, answer.variant, answer.reason, answer.error_code, cause, prerequisite)


def normal_json(item: Mapping[str, Any]) -> Normal:
    """Of an OFREP answer."""
    metadata = item.get("metadata", {})
    cause, prerequisite = metadata.get("cause"), metadata.get("prerequisite")
    if "errorCode" in item:
        return Normal(None, None, "ERROR", item["errorCode"], cause, prerequisite)
    value = json.dumps(item["value"], sort_keys=True) if "value" in item else None
    return Normal(value, item.get("variant"), item["reason"], None, cause, prerequisite)


def bulk(body: bytes) -> Answers:
    return {item["key"]: normal_json(item) for item in json.loads(body)["flags"]}


def walked(explanation: Explanation) -> Normal:
    """The answer that the explanation's own steps lead to; its value is the conclusion's."""
    value = None if explanation.variant is None else json.dumps(explanation.value, sort_keys=True)
    split = explanation.split
    if explanation.decided_by == "prerequisite":
        unmet = next(step for step in explanation.prerequisites if step.outcome == "passed over")
        named = unmet.flag if "prerequisite" in explanation.metadata else None
        return Normal(value, explanation.variant, "DEFAULT", None, "PREREQUISITE_FAILED", named)
    if explanation.decided_by == "disabled":
        return Normal(value, explanation.variant, "DISABLED", None)
    if split is not None and split.variant is None:
        return Normal(None, None, "ERROR", "TARGETING_KEY_MISSING")
    if split is not None:
        return Normal(value, split.variant, "SPLIT", None)
    matched = next((rule for rule in explanation.rules if rule.outcome == "matched"), None)
    serves = matched.serves if matched is not None else explanation.fallthrough or ""
    variant = serves.strip("`") if serves.startswith("`") else None
    if matched is not None:
        return Normal(value, variant, "DEFAULT" if variant is None else "TARGETING_MATCH", None)
    decides = explanation.rules or explanation.prerequisites or variant is None
    return Normal(value, variant, "DEFAULT" if decides else "STATIC", None)


# Making a failure small


def smallest(
    document: dict[str, Any], context: dict[str, Any], fails: Callable[[dict[str, Any], dict[str, Any]], bool]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Cuts parts off the document and the context for as long as it still fails."""
    budget = 2000
    again = True
    while again:
        again = False
        for smaller in _cut(document, conditions=True):
            budget -= 1
            if budget > 0 and fails(smaller, context):
                document, again = smaller, True
                break
        for fewer in _cut(context, conditions=False):
            budget -= 1
            if budget > 0 and fails(document, fewer):
                context, again = fewer, True
                break
    return document, context


def _cut(tree: Any, *, conditions: bool) -> Iterator[Any]:
    """The tree without one of its parts, larger parts first."""
    if isinstance(tree, dict):
        for name in tree:
            yield {key: value for key, value in tree.items() if key != name}
        for name, value in tree.items():
            parts = _parts_of(value) if conditions and name == "when" else _cut(value, conditions=conditions)
            for smaller in parts:
                yield {**tree, name: smaller}
    elif isinstance(tree, list):
        for index in range(len(tree)):
            yield [*tree[:index], *tree[index + 1 :]]
        for index, value in enumerate(tree):
            for smaller in _cut(value, conditions=conditions):
                yield [*tree[:index], smaller, *tree[index + 1 :]]


def _parts_of(condition: str) -> Iterator[str]:
    """What stands in parentheses, and each side of an operator."""
    opened: list[int] = []
    for at, character in enumerate(condition):
        if character == "(":
            opened.append(at)
        elif character == ")" and opened:
            yield condition[opened.pop() + 1 : at]
    for operator in re.finditer(r" (?:&&|\|\||[?:]) ", condition):
        yield condition[: operator.start()]
        yield condition[operator.end() :]


def fails_at(flag: str, now: int, environment: str | None) -> Callable[[dict[str, Any], dict[str, Any]], bool]:
    """Whether a smaller pair still disagrees about the flag."""

    def fails(document: dict[str, Any], context: dict[str, Any]) -> bool:
        try:
            return any(each.flag == flag for each in disagreements(document, [(context, now)], environment))
        except CompileError:
            return False

    return fails


def told(found: Disagreement, document: dict[str, Any], environment: str | None, seed: object) -> str:
    """What to print: the smallest failing pair, every way that disagrees, and the seed."""
    document, context = smallest(document, found.context, fails_at(found.flag, found.now, environment))
    left = disagreements(document, [(context, found.now)], environment) or [found]
    lines = [
        f"seed {seed}, environment {environment}, now {found.now}",
        f"document {json.dumps(document, ensure_ascii=False)}",
        f"context {context!r}",
        *(f"{each.way}: {each.flag}\n  oracle {each.expected}\n  engine {each.found}" for each in left),
    ]
    return "\n".join(lines)
