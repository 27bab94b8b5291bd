"""What each tenant may use of a host: from the settings, and from a file where tenants differ.

    default: {evaluationsPerSecond: 2_000_000}
    tenants:
      shop: {requestsPerSecond: 500, mode: warn}

becomes `Quotas(default=Quota(0, 2000000, …), tenants={"shop": Quota(500, 2000000, …, warn=True)})`. What a tenant's
row leaves out is as in `default`, and what that leaves out is as the settings say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml

from server.settings import Settings
from server.types import NAME

LARGEST_FILE = 8 << 20  # bytes
MOST = 1e12  # of anything


class QuotasError(ValueError):
    """The file cannot be used: where in it, and why."""


@dataclass(frozen=True, slots=True)
class Quota:
    """Of one tenant, over all workers of the host. 0: no limit."""

    requests_per_second: float = 0.0
    evaluations_per_second: float = 0.0  # of flags
    bytes_in_flight: int = 0  # of bodies that did not come with their head
    streams: int = 0
    warn: bool = False  # count what goes over, and let it pass


@dataclass(frozen=True, slots=True)
class Quotas:
    default: Quota = Quota()
    tenants: Mapping[str, Quota] = field(default_factory=dict)

    def of(self, tenant: str) -> Quota:
        return self.tenants.get(tenant, self.default)


class _Row(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    requests_per_second: float | msgspec.UnsetType = msgspec.UNSET
    evaluations_per_second: float | msgspec.UnsetType = msgspec.UNSET
    bytes_in_flight: int | msgspec.UnsetType = msgspec.UNSET
    streams: int | msgspec.UnsetType = msgspec.UNSET
    mode: Literal["enforce", "warn"] | msgspec.UnsetType = msgspec.UNSET


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    default: Any = {}
    tenants: dict[str, Any] = {}


class _Loader(yaml.SafeLoader):
    """Two rows for one tenant are a mistake, not the second one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        found = super().construct_mapping(node, deep=deep)
        if len(found) != len(node.value):
            raise yaml.constructor.ConstructorError(None, None, "a name is there twice", node.start_mark)
        return found


def read_quotas(settings: Settings) -> Quotas:
    """Raises QuotasError; OSError is one, too."""
    default = Quota(
        settings.tenant_requests,
        settings.tenant_evaluations,
        settings.tenant_bytes_in_flight,
        settings.tenant_streams,
        settings.quota_mode == "warn",
    )
    if settings.quotas is None:
        return Quotas(default)
    try:
        return parse_quotas(_read(settings.quotas), default)
    except QuotasError as error:
        raise QuotasError(f"`{settings.quotas}`: {error}") from None


def parse_quotas(text: bytes, default: Quota) -> Quotas:
    """`default` is for what the file leaves out. Raises QuotasError."""
    try:
        found = yaml.load(text, _Loader)
        file = msgspec.convert({} if found is None else found, _File)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        raise QuotasError(f"{where}{getattr(error, 'problem', None) or 'it is not YAML in UTF-8'}") from None
    except msgspec.ValidationError as error:
        raise QuotasError(_said("", error, _File)) from None
    default = _quota("default", _row("default", file.default), default)
    for tenant in file.tenants:
        if re.fullmatch(NAME, tenant) is None:
            raise QuotasError(f"tenants: `{tenant}` is not the name of a tenant")
    return Quotas(
        default,
        {name: _quota(where := f"tenants.{name}", _row(where, row), default) for name, row in file.tenants.items()},
    )


def _row(where: str, found: Any) -> _Row:
    try:
        return msgspec.convert(found, _Row)
    except msgspec.ValidationError as error:
        raise QuotasError(_said(where, error, _Row)) from None


def _said(where: str, error: msgspec.ValidationError, row: type[msgspec.Struct]) -> str:
    """msgspec knows the place within a row, and not which members there are.

    >>> _said("tenants.shop", msgspec.ValidationError("Object contains unknown field `stream`"), _File)
    'tenants.shop: unknown member `stream` (hint: there are `default`, `tenants`)'
    """
    what, _, place = str(error).partition(" - at ")
    if what.startswith(unknown := "Object contains unknown field "):
        members = ", ".join(f"`{each}`" for each in row.__struct_encode_fields__)
        what = f"unknown member {what.removeprefix(unknown)} (hint: there are {members})"
    place = (where + place.rpartition("$")[2].strip("`")).removeprefix(".")
    return f"{place}: {_lower(what)}" if place else _lower(what)


def _quota(where: str, row: _Row, default: Quota) -> Quota:
    def chosen(name: str, given: Any, otherwise: Any) -> Any:
        if given is msgspec.UNSET:
            return otherwise
        if not 0 <= given <= MOST:  # NaN compares with nothing
            raise QuotasError(f"{where}.{name}: must be a number from 0 (no limit) to {MOST:.0e}, got `{given}`")
        return given

    return Quota(
        chosen("requestsPerSecond", row.requests_per_second, default.requests_per_second),
        chosen("evaluationsPerSecond", row.evaluations_per_second, default.evaluations_per_second),
        chosen("bytesInFlight", row.bytes_in_flight, default.bytes_in_flight),
        chosen("streams", row.streams, default.streams),
        default.warn if row.mode is msgspec.UNSET else row.mode == "warn",
    )


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise QuotasError((error.strerror or str(error)).lower()) from None
    if len(text) > LARGEST_FILE:
        raise QuotasError(f"it is larger than {LARGEST_FILE} bytes")
    return text


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
