"""The admin API in OpenAPI 3.1, made from the table of routes and the types in it.

Route("tenant_get", "GET", "/tenants/{tenant}", …, answer=Tenant)

becomes `paths["/api/v1/tenants/{tenant}"]["get"]` with its parameters, its answers, and every problem it may end in.
"""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Final

import msgspec
from msgspec.json import schema_components

from server.control.api.frame import BASE, PARAMETERS, Route
from server.control.problems import PROBLEM_JSON, ProblemDetails
from server.http.failures import JSON
from server.version import version

_REF: Final = "#/components/schemas/{name}"
_OF_ALL: Final = (400, 401, 403, 404, 500, 503)
_OF_BODIES: Final = (408, 413, 415, 422)
_OF_CHANGES: Final = (412, 428)
_OF_POSTS: Final = (409, 422)


def document(routes: Iterable[Route]) -> dict[str, Any]:
    routes = tuple(routes)
    types = {ProblemDetails} | {each.answer for each in routes} | {each.body for each in routes}
    listed = sorted((each for each in types if each is not None), key=str)
    schemas, components = schema_components(listed, ref_template=_REF)
    schema_of = dict(zip(listed, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(BASE + route.path, {})[route.method.lower()] = _operation(route, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Burgee admin API", "version": version(), "license": {"name": "Apache-2.0"}},
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "bearerFormat": "burgee_admin_…"}},
        },
    }


def statuses_of(route: Route) -> tuple[int, ...]:
    """Every one that it may answer."""
    found = {route.status, *route.statuses, *_OF_ALL}
    if route.body is not None:
        found |= set(_OF_BODIES)
    if route.conditional:
        found |= set(_OF_CHANGES)
    if route.method != "GET":
        found |= {409}
    if route.method == "POST":
        found |= set(_OF_POSTS)
    return tuple(sorted(found))


def _operation(route: Route, schema_of: dict[Any, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "tags": [_tag(route)],
        "responses": {str(each): _response(route, each, schema_of) for each in statuses_of(route)},
    }
    if route.need is not None:
        operation["description"] = f"Needs the role `{route.need.role}`."
    if parameters := [*_in_path(route), *_in_query(route), *_in_headers(route)]:
        operation["parameters"] = parameters
    if route.body is not None:
        content = {JSON: {"schema": schema_of[route.body]}}
        operation["requestBody"] = {"required": not route.body_optional, "content": content}
    return operation


def _tag(route: Route) -> str:
    words = [each for each in route.path.split("/") if each and "{" not in each]
    return words[-1] if words else "instance"


def _response(route: Route, status: int, schema_of: dict[Any, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    if status >= 400:
        described["content"] = {PROBLEM_JSON: {"schema": schema_of[ProblemDetails]}}
        if status in (429, 503):
            described["headers"] = {"Retry-After": {"schema": {"type": "string"}}}
    elif route.answer is not None and status not in (204, 304):
        described["content"] = {JSON: {"schema": schema_of[route.answer]}}
    return described


def _in_path(route: Route) -> list[dict[str, Any]]:
    names = [each[1:-1] for each in route.path.split("/") if each.startswith("{")]
    return [
        {
            "name": each,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": f"^(?:{PARAMETERS[each]})$"},
        }
        for each in names
    ]


def _in_query(route: Route) -> list[dict[str, Any]]:
    if route.query is None:
        return []
    (_,), components = schema_components([route.query], ref_template=_REF)
    schema = components[route.query.__name__]
    return [
        {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": each}
        for name, each in schema["properties"].items()
    ]


def _in_headers(route: Route) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if route.conditional:
        found.append({"name": "If-Match", "in": "header", "required": False, "schema": {"type": "string"}})
    if route.method == "POST":
        schema = {"type": "string", "pattern": "^[\\x21-\\x7e]{1,128}$"}
        found.append({"name": "Idempotency-Key", "in": "header", "required": False, "schema": schema})
    return found


def rendered(routes: Iterable[Route]) -> bytes:
    return msgspec.json.encode(document(routes))
