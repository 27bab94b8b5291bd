"""Answers against the OpenAPI document of OFREP 0.3, where the public conformance data is at hand."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.server.running import BANK, BULK, GAME, ROOT, SHOP, Running

CORPORA = Path(os.environ.get("BURGEE_CORPORA") or ROOT.parent / "shared" / "conformance")
CONTEXTS: list[dict[str, Any]] = [
    {"targetingKey": "u-1"},
    {"targetingKey": "u-ada", "country": "DE", "orders": {"total": 60}, "consent": ["personalisation"]},
    {"targetingKey": "c-7", "age": 24, "device": {"passkeys": True}, "app": {"version": "7.2.0"}},
    {"targetingKey": "p-nyx", "age": 30, "player": {"level": 70}, "mode": "ranked"},
]
# Read with two liberties: its enum of reasons leaves out DEFAULT, which its own ADR-0006 uses; and a value that fits
# several types (an integer is a number, anything fits the code default) breaks `oneOf`, so that is read as `anyOf`.
REASONS = ["STATIC", "TARGETING_MATCH", "SPLIT", "DISABLED", "UNKNOWN", "DEFAULT"]


@pytest.fixture(scope="module")
def openapi() -> dict[str, Any]:
    path = CORPORA / "ofrep" / "openapi.yaml"
    if not path.exists():
        pytest.skip(f"the public conformance data is not in {CORPORA} (BURGEE_CORPORA names another folder)")
    document: dict[str, Any] = yaml.safe_load(path.read_text())
    document["components"]["schemas"]["evaluationSuccess"]["allOf"][0]["properties"]["reason"]["enum"] = REASONS
    any_of(document["components"])
    return document


def any_of(part: Any) -> None:
    if isinstance(part, dict):
        if "oneOf" in part:
            part["anyOf"] = part.pop("oneOf")
        for each in part.values():
            any_of(each)
    elif isinstance(part, list):
        for each in part:
            any_of(each)


def check(openapi: dict[str, Any], name: str, value: Any) -> None:
    jsonschema.Draft202012Validator({**openapi, "$ref": f"#/components/schemas/{name}"}).validate(value)


@pytest.mark.parametrize("key", [SHOP, BANK, GAME])
@pytest.mark.parametrize("context", CONTEXTS)
def test_evaluations(server: Running, openapi: dict[str, Any], key: str, context: dict[str, Any]) -> None:
    bulk = server.post(BULK, {"context": context}, key=key)
    check(openapi, "bulkEvaluationSuccess", bulk.json)
    for flag in bulk.json["flags"]:
        single = server.post(f"{BULK}/{flag['key']}", {"context": context}, key=key)
        if single.status == 200:
            check(openapi, "serverEvaluationSuccess", single.json)
            assert {**flag, "metadata": None} == {**single.json, "metadata": None}
        else:
            assert single.status == 400
            check(openapi, "evaluationFailure", single.json)


def test_failures(server: Running, openapi: dict[str, Any]) -> None:
    bodies: tuple[Any, ...] = ({}, {"context": []}, b"{")
    for body in bodies:
        check(openapi, "bulkEvaluationFailure", server.post(BULK, body, key=SHOP).json)
        check(openapi, "evaluationFailure", server.post(f"{BULK}/reviews", body, key=SHOP).json)
    check(openapi, "flagNotFound", server.post(f"{BULK}/nothing", {"context": {}}, key=SHOP).json)
    check(
        openapi, "evaluationFailure", server.post(f"{BULK}/new-checkout", {"context": {"country": "DE"}}, key=SHOP).json
    )


def test_every_status_of_the_document_is_in_ours(openapi: dict[str, Any]) -> None:
    page = (ROOT / "docs" / "http.md").read_text()
    for path in openapi["paths"].values():
        for status in path["post"]["responses"]:
            assert f"| {status} |" in page
