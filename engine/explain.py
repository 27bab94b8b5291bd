"""Why a flag gives what it gives, and why nothing else: every rule, condition, operand, hash and bucket.

    snapshot.explain("checkout", {"targetingKey": "u-1", "country": "DE"}).render()

becomes

    checkout: new "new-v2" (SPLIT)
      rule `rollout` matched: `country` is "DE"
      bucket 12,345 of `u-1` is in [0, 20,000) of 100,000: `new`
    …

The conclusion is the engine's own answer; the way there is walked again, over the flag's tree in the source map.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec

from engine.conditions import Condition, Looker, Truth
from engine.readings import id_text, value_at

BUCKETS = 100_000
MARKS: dict[str, str] = {"true": "✓", "false": "✗", "unknown": "?"}

Outcome = Literal["matched", "passed over", "not reached"]


class Conclusion(Protocol):
    """What engine.Evaluation has."""

    @property
    def value(self) -> Any: ...
    @property
    def variant(self) -> str | None: ...
    @property
    def reason(self) -> str: ...
    @property
    def error_code(self) -> str | None: ...
    @property
    def metadata(self) -> Mapping[str, Any]: ...


class Explainable(Protocol):
    """What an explanation needs of engine.Snapshot."""

    def __contains__(self, flag_key: object) -> bool: ...
    def evaluate(self, flag_key: str, context: Mapping[str, Any], *, now: int | None = None) -> Conclusion: ...
    def _source_map(self, flag_key: str) -> dict[str, Any]: ...
    def _in_ids(self, list_name: str, path: Sequence[str], value_text: str) -> bool: ...


class Bucketing(msgspec.Struct, frozen=True):
    """One split, worked out: bucket = mix(hash64(key) ^ hash64(salt)) * 100,000 >> 64."""

    by: str
    key: str | None  # None: no usable key at `by`
    salt: str
    key_hash: str | None  # 16 hexadecimal digits each
    salt_hash: str
    bucket: int | None
    start: int | None  # the range that was hit: [start, end) of 100,000
    end: int | None
    variant: str | None
    ranges: tuple[tuple[int, int, str], ...]


class PrerequisiteStep(msgspec.Struct, frozen=True):
    flag: str
    wanted: tuple[str, ...]
    gave: str | None
    reason: str
    error_code: str | None
    met: bool
    outcome: Outcome  # matched: met; passed over: not met, and the flag is off for it


class RuleStep(msgspec.Struct, frozen=True):
    id: str
    name: str
    text: str
    truth: Truth
    outcome: Outcome
    serves: str  # a variant, a split or the caller's own default, in words
    condition: Condition
    split: Bucketing | None = None


class Explanation(msgspec.Struct, frozen=True):
    flag: str
    now: int  # milliseconds since the epoch
    variant: str | None
    value: Any
    reason: str
    error_code: str | None
    metadata: dict[str, Any]
    decided_by: Literal["no such flag", "disabled", "prerequisite", "rule", "fallthrough"]
    why: tuple[str, ...]
    prerequisites: tuple[PrerequisiteStep, ...] = ()
    rules: tuple[RuleStep, ...] = ()
    fallthrough: str | None = None
    split: Bucketing | None = None  # the one that decided

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain

    def render(self) -> str:
        return "\n".join(_lines(self)) + "\n"


def explain(snapshot: Explainable, flag_key: str, context: Mapping[str, Any], now: int) -> Explanation:
    """Explain one flag for one context; `now` is milliseconds since the epoch. Never raises for data."""
    answer = snapshot.evaluate(flag_key, context, now=now)
    about = {
        "flag": flag_key,
        "now": now,
        "variant": answer.variant,
        "value": answer.value,
        "reason": answer.reason,
        "error_code": answer.error_code,
        "metadata": dict(answer.metadata),
    }
    if flag_key not in snapshot:
        return Explanation(**about, decided_by="no such flag", why=(f"there is no flag `{flag_key}`",))
    return _Walk(snapshot, snapshot._source_map(flag_key)["flag"], context, now).explanation(about)


class _Walk:
    """The order of decision, over the source map of one flag."""

    def __init__(self, snapshot: Explainable, flag: dict[str, Any], context: Mapping[str, Any], now: int) -> None:
        self.snapshot, self.flag, self.context, self.now = snapshot, flag, context, now
        self.answers: dict[str, Conclusion] = {}
        self.looker = Looker(context, now, lambda other: self.answer(other).variant, snapshot._in_ids)

    def answer(self, flag_key: str) -> Conclusion:
        if flag_key not in self.answers:
            self.answers[flag_key] = self.snapshot.evaluate(flag_key, self.context, now=self.now)
        return self.answers[flag_key]

    def explanation(self, about: dict[str, Any]) -> Explanation:
        flag = self.flag
        decided = not flag["enabled"]
        decided_by: Literal["disabled", "prerequisite", "rule", "fallthrough"] = (
            "disabled" if decided else "fallthrough"
        )
        why = ["the flag is disabled"] if decided else []
        split: Bucketing | None = None

        prerequisites = []
        for prerequisite in flag["prerequisites"]:
            step = self.prerequisite(prerequisite, reached=not decided)
            prerequisites.append(step)
            if step.outcome == "passed over":
                decided, decided_by = True, "prerequisite"
                why.append(f"prerequisite `{step.flag}` is not met: it gives {_gave(step)}, not {_either(step.wanted)}")

        rules = []
        for rule in flag["rules"]:
            rule_step = self.rule(rule, reached=not decided)
            rules.append(rule_step)
            if rule_step.outcome == "matched":
                decided, decided_by, split = True, "rule", rule_step.split
                why.append(f"rule `{rule_step.id}` matched: {rule_step.condition.why}")
            elif rule_step.outcome == "passed over":
                is_not = f"rule `{rule_step.id}` did not match, its condition is {rule_step.truth}"
                why.append(f"{is_not}: {rule_step.condition.why}")

        if decided_by in ("disabled", "prerequisite"):
            off = flag.get("off_variant")
            why.append(
                f"the off variant `{off}` is served" if off else "there is no off variant: the caller's own default"
            )
        elif decided_by == "fallthrough":
            why.append(f"the fallthrough serves {_serves(flag.get('fallthrough'))}")
            split = self.bucketing(flag.get("fallthrough"))
        if split is not None:
            why.append(_bucket_words(split))
        return Explanation(
            **about,
            decided_by=decided_by,
            why=tuple(why),
            prerequisites=tuple(prerequisites),
            rules=tuple(rules),
            fallthrough=_serves(flag.get("fallthrough")),
            split=split,
        )

    def prerequisite(self, prerequisite: dict[str, Any], *, reached: bool) -> PrerequisiteStep:
        answer = self.answer(prerequisite["flag"])
        met = answer.variant in prerequisite["variants"]
        return PrerequisiteStep(
            flag=prerequisite["flag"],
            wanted=tuple(prerequisite["variants"]),
            gave=answer.variant,
            reason=answer.reason,
            error_code=answer.error_code,
            met=met,
            outcome="not reached" if not reached else "matched" if met else "passed over",
        )

    def rule(self, rule: dict[str, Any], *, reached: bool) -> RuleStep:
        condition = self.looker.look_at(rule["when"])
        matched = reached and condition.truth == "true"
        return RuleStep(
            id=rule["id"],
            name=rule["name"],
            text=rule["text"],
            truth=condition.truth,
            outcome="matched" if matched else "passed over" if reached else "not reached",
            serves=_serves(rule.get("serve")),
            condition=condition,
            split=self.bucketing(rule.get("serve")) if matched else None,
        )

    def bucketing(self, serve: Any) -> Bucketing | None:
        # here, because engine.snapshot's Snapshot.explain is what calls this module
        from engine.snapshot import bucket_of, hash64

        if not isinstance(serve, Mapping):
            return None
        salt = serve["salt"]
        ranges = tuple((start, end, variant) for start, end, variant in serve["ranges"])
        key = id_text(value_at(self.context, serve["by"])) or None
        bucket = None if key is None else bucket_of(key, salt)
        if bucket is not None:
            hit = next((r for r in ranges if r[0] <= bucket < r[1]), None)
        else:  # all on one variant: no key is needed
            hit = ranges[0] if len({variant for *_, variant in ranges}) == 1 else None
        start, end, variant = hit or (None, None, None)
        return Bucketing(
            by=".".join(serve["by"]),
            key=key,
            salt=salt,
            key_hash=None if key is None else f"{hash64(key.encode()):016x}",
            salt_hash=f"{hash64(salt.encode()):016x}",
            bucket=bucket,
            start=start,
            end=end,
            variant=variant,
            ranges=ranges,
        )


# In words


def _serves(serve: Any) -> str:
    if serve is None:
        return "the caller's own default"
    if isinstance(serve, str):
        return f"`{serve}`"
    shares = ", ".join(f"{(end - start) * 100 / BUCKETS:g} % `{variant}`" for start, end, variant in serve["ranges"])
    return f"a split by `{'.'.join(serve['by'])}`: {shares}"


def _either(names: Sequence[str]) -> str:
    return " or ".join(f"`{name}`" for name in names)


def _gave(step: PrerequisiteStep) -> str:
    return f"`{step.gave}`" if step.gave is not None else f"no variant ({step.error_code or step.reason})"


def _bucket_words(split: Bucketing) -> str:
    if split.variant is None:
        return f"`{split.by}` is no bucketing key (it must be a string that is not empty, or an exact integer)"
    if split.bucket is None:
        return f"all of the split is `{split.variant}`"
    return (
        f"`{split.key}` with salt `{split.salt}` is in bucket {split.bucket:,}, "
        f"in [{split.start:,}, {split.end:,}) of {BUCKETS:,}: `{split.variant}`"
    )


def _lines(explanation: Explanation) -> Iterator[str]:
    if explanation.error_code is not None:
        yield f"{explanation.flag}: {explanation.error_code}"
    elif explanation.variant is None:
        yield f"{explanation.flag}: the caller's own default ({explanation.reason})"
    else:
        value = json.dumps(explanation.value, ensure_ascii=False)
        yield f"{explanation.flag}: {explanation.variant} = {value} ({explanation.reason})"
    yield from (f"  {sentence}" for sentence in explanation.why)
    if explanation.prerequisites:
        yield from ("", "prerequisites")
    for step in explanation.prerequisites:
        mark = MARKS["true" if step.met else "false"]
        reached = " (not reached)" if step.outcome == "not reached" else ""
        yield f"  {mark} {step.flag} gives {_gave(step)}, wanted {_either(step.wanted)}{reached}"
    if explanation.rules:
        yield from ("", "rules")
    for rule in explanation.rules:
        name = f" ({rule.name})" if rule.name and rule.name != rule.id else ""
        yield f"  {MARKS[rule.truth]} {rule.id}{name}: {rule.outcome}, serves {rule.serves}"
        yield from _condition_lines(rule.condition, 6)
    if explanation.fallthrough is not None:
        yield from ("", f"fallthrough: {explanation.fallthrough}")
    if explanation.split is not None:
        yield from ("", "split", *_split_lines(explanation.split))


def _condition_lines(condition: Condition, indent: int) -> Iterator[str]:
    inner = condition.node in ("and", "or", "choice", "not", "segment", "element")
    why = "" if inner else f"   {condition.why}"
    yield f"{'':{indent}}{MARKS[condition.truth]} {condition.text}{why}"
    for item in condition.items:
        yield from _condition_lines(item, indent + 2)


def _split_lines(split: Bucketing) -> Iterator[str]:
    yield f"  by      {split.by} = {'(no key)' if split.key is None else split.key}"
    yield f"  salt    {split.salt}"
    if split.bucket is not None:
        yield f"  hash    {split.key_hash} ^ {split.salt_hash}, mixed"
        yield f"  bucket  {split.bucket:,} of {BUCKETS:,}"
    for start, end, variant in split.ranges:
        yield f"  {'→' if (start, end) == (split.start, split.end) else ' '} [{start:,}, {end:,}) {variant}"
