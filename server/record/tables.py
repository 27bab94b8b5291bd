"""The schema, once for SQLite and Postgres. Migrations only add to it.

    tenants ─┬─ projects ─┬─ environments ── versions ── documents, snapshots
             │            ├─ definitions                 (flags and segments: the working copy)
             │            └─ drafts
             ├─ keys
             └─ audit                                    (a chain of hashes for each tenant)

Moments are seconds since the epoch, as floats. JSON is text, canonical where it is hashed. Names are as in
`server.types.NAME`. A row that is deleted keeps its place (`deleted_at`), so that numbers never start again.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_NAME = String(128)
_DIGEST = String(64)  # hexadecimal SHA-256
_BIG = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts on by itself only in an INTEGER


def _moment(name: str, *, nullable: bool = False) -> Column[float]:
    return Column(name, Float(53), nullable=nullable)


def _json(name: str) -> Column[str]:
    return Column(name, Text, nullable=False, server_default="{}")


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False, server_default="0")


def _count(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default="0")


instance = Table(  # what there is one of: epoch, paused, created_at
    "instance",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)

tenants = Table(
    "tenants",
    metadata,
    Column("name", _NAME, primary_key=True),
    Column("title", String(256), nullable=False, server_default=""),
    _count("revision"),  # for If-Match
    _flag("paused"),
    _json("quotas"),  # {"requestsPerSecond": 500, …}
    _json("settings"),
    _count("audit_number"),  # of the last row of its chain
    Column("audit_head", _DIGEST, nullable=False, server_default=""),  # its hash
    _moment("created_at"),
    _moment("deleted_at", nullable=True),
)

projects = Table(
    "projects",
    metadata,
    Column("tenant", _NAME, nullable=False),
    Column("name", _NAME, nullable=False),
    Column("title", String(256), nullable=False, server_default=""),
    _count("revision"),  # for If-Match: of the project's own settings
    _count("edited"),  # rises with every change of the working copy
    _count("number"),  # rises with whatever hosts must know; with the epoch in it, as versions have
    _flag("paused"),
    _json("settings"),
    _moment("created_at"),
    _moment("deleted_at", nullable=True),
    PrimaryKeyConstraint("tenant", "name"),
    ForeignKeyConstraint(["tenant"], ["tenants.name"]),
)

environments = Table(
    "environments",
    metadata,
    Column("tenant", _NAME, nullable=False),
    Column("project", _NAME, nullable=False),
    Column("name", _NAME, nullable=False),
    Column("place", Integer, nullable=False),  # in the project's list
    _count("revision"),  # for If-Match: of its settings
    _count("version"),  # the newest there is, with the epoch; 0: none
    _count("live_version"),  # what hosts are told to serve: the newest, unless it is held
    _flag("paused"),
    Column("pinned_version", BigInteger),
    _json("settings"),  # approvals, lintGate, impactThreshold, origins, canary
    _moment("created_at"),
    _moment("deleted_at", nullable=True),
    PrimaryKeyConstraint("tenant", "project", "name"),
    ForeignKeyConstraint(["tenant", "project"], ["projects.tenant", "projects.name"]),
)

canaries = Table(  # versions that some workers answer from before the others; a row goes when it is decided
    "canaries",
    metadata,
    Column("tenant", _NAME, nullable=False),
    Column("project", _NAME, nullable=False),
    Column("environment", _NAME, nullable=False),
    Column("number", BigInteger, nullable=False),  # of the version
    Column("share", Float(53), nullable=False),  # of the workers
    Column("seconds", Float(53), nullable=False),  # until it is promoted
    _moment("since"),
    PrimaryKeyConstraint("tenant", "project", "environment"),
    ForeignKeyConstraint(
        ["tenant", "project", "environment"], ["environments.tenant", "environments.project", "environments.name"]
    ),
)

definitions = Table(  # the working copy: what the next draft is made of
    "definitions",
    metadata,
    Column("tenant", _NAME, nullable=False),
    Column("project", _NAME, nullable=False),
    Column("kind", String(8), nullable=False),  # "flag", "segment"
    Column("key", _NAME, nullable=False),
    Column("body", Text, nullable=False),  # as in the flag document, its `environments` included
    _count("revision"),  # for If-Match: what `edited` of its project was at the change
    _moment("created_at"),
    _moment("changed_at"),
    Column("changed_by", String(64), nullable=False, server_default=""),
    PrimaryKeyConstraint("tenant", "project", "kind", "key"),
    ForeignKeyConstraint(["tenant", "project"], ["projects.tenant", "projects.name"]),
)

documents = Table(  # whole documents, as they were published or proposed
    "documents",
    metadata,
    Column("tenant", _NAME, nullable=False),
    Column("project", _NAME, nullable=False),
    Column("digest", _DIGEST, nullable=False),
    Column("content", LargeBinary, nullable=False),  # zstd of canonical JSON
    PrimaryKeyConstraint("tenant", "project", "digest"),
    ForeignKeyConstraint(["tenant", "project"], ["projects.tenant", "projects.name"]),
)

snapshots = Table(
    "snapshots",
    metadata,
    Column("tenant", _NAME, nullable=False),
    Column("project", _NAME, nullable=False),
    Column("digest", _DIGEST, nullable=False),  # the snapshot's own
    Column("content", LargeBinary, nullable=False),  # zstd
    PrimaryKeyConstraint("tenant", "project", "digest"),
    ForeignKeyConstraint(["tenant", "project"], ["projects.tenant", "projects.name"]),
)

versions = Table(  # never changed
    "versions",
    metadata,
    Column("tenant", _NAME, nullable=False),
    Column("project", _NAME, nullable=False),
    Column("environment", _NAME, nullable=False),
    Column("number", BigInteger, nullable=False),  # with the epoch
    Column("kind", String(16), nullable=False),  # publish, rollback, promote, kill, import, restore
    Column("origin", Text, nullable=False, server_default=""),  # what it was made from: a version, an environment
    Column("document", _DIGEST, nullable=False),
    Column("snapshot", _DIGEST, nullable=False),
    Column("size", Integer, nullable=False),  # bytes of the snapshot
    Column("flags", Integer, nullable=False),
    Column("draft", String(32), nullable=False, server_default=""),
    Column("message", Text, nullable=False, server_default=""),
    _moment("created_at"),
    Column("created_by", String(64), nullable=False),  # selector of a key, or a name of the server's own
    PrimaryKeyConstraint("tenant", "project", "environment", "number"),
    ForeignKeyConstraint(
        ["tenant", "project", "environment"], ["environments.tenant", "environments.project", "environments.name"]
    ),
    ForeignKeyConstraint(
        ["tenant", "project", "document"], ["documents.tenant", "documents.project", "documents.digest"]
    ),
)

drafts = Table(
    "drafts",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("tenant", _NAME, nullable=False),
    Column("project", _NAME, nullable=False),
    Column("environment", _NAME, nullable=False),
    Column("state", String(16), nullable=False),  # open, scheduled, published, withdrawn, superseded, failed
    _count("revision"),  # for If-Match
    Column("kind", String(16), nullable=False),  # as of the version that it becomes
    Column("origin", Text, nullable=False, server_default=""),
    Column("document", _DIGEST, nullable=False),
    Column("base", BigInteger, nullable=False),  # the environment's version that it was made against
    Column("message", Text, nullable=False, server_default=""),
    Column("approvals", Text, nullable=False, server_default="[]"),  # [{"by": selector, "at": moment}]
    Column("report", Text, nullable=False, server_default="{}"),  # diagnostics, diff, impact
    _moment("publish_at", nullable=True),  # of a scheduled one
    _moment("created_at"),
    Column("created_by", String(64), nullable=False),
    ForeignKeyConstraint(
        ["tenant", "project", "environment"], ["environments.tenant", "environments.project", "environments.name"]
    ),
    Index("ix_drafts_of", "tenant", "project", "environment", "created_at"),
    Index("ix_drafts_due", "state", "publish_at"),
)

keys = Table(
    "keys",
    metadata,
    Column("selector", String(32), primary_key=True),
    Column("digest", _DIGEST, nullable=False),
    Column("kind", String(8), nullable=False),  # server, client, edge, admin
    Column("tenant", _NAME, nullable=False, server_default=""),  # empty: every tenant (edge and admin keys)
    Column("project", _NAME, nullable=False, server_default=""),  # empty: every project of the tenant
    Column("environments", Text, nullable=False, server_default="[]"),  # names; empty: every environment
    Column("role", String(8), nullable=False, server_default=""),  # of admin keys: owner, admin, editor, viewer
    Column("name", String(256), nullable=False, server_default=""),
    _count("revision"),
    _moment("created_at"),
    Column("created_by", String(64), nullable=False),
    _moment("expires_at", nullable=True),
    _moment("revoked_at", nullable=True),
    UniqueConstraint("digest"),
    Index("ix_keys_of", "tenant", "project"),
)

audit = Table(
    "audit",
    metadata,
    Column("tenant", _NAME, nullable=False),  # empty: what belongs to no tenant
    Column("number", BigInteger, nullable=False),  # from 1, dense
    _moment("at"),
    Column("actor", String(64), nullable=False),
    Column("action", String(64), nullable=False),  # flag.update, environment.publish, key.revoke, …
    Column("target", String(512), nullable=False),  # shop/web/production, shop/web/flags/checkout, …
    Column("details", Text, nullable=False),  # canonical JSON
    Column("previous", _DIGEST, nullable=False),
    Column("hash", _DIGEST, nullable=False),
    PrimaryKeyConstraint("tenant", "number"),
)

outbox = Table(  # projects whose hosts are to be told; a row goes when they have been
    "outbox",
    metadata,
    Column("id", _BIG, primary_key=True, autoincrement=True),
    Column("tenant", _NAME, nullable=False),
    Column("project", _NAME, nullable=False),
    Column("number", BigInteger, nullable=False),
    _moment("at"),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("actor", String(64), nullable=False),
    Column("key", String(128), nullable=False),
    Column("request", _DIGEST, nullable=False),  # method, path and body
    Column("status", Integer, nullable=False),
    Column("headers", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    _moment("at"),
    PrimaryKeyConstraint("actor", "key"),
    Index("ix_idempotency_at", "at"),
)

hosts = Table(  # what the hosts last said of themselves
    "hosts",
    metadata,
    Column("name", String(256), primary_key=True),
    _moment("at"),
    Column("body", Text, nullable=False),
)

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("tenant", _NAME, nullable=False),
    Column("url", Text, nullable=False),
    Column("secret", String(128), nullable=False),
    Column("events", Text, nullable=False, server_default="[]"),
    _count("revision"),
    _moment("created_at"),
    ForeignKeyConstraint(["tenant"], ["tenants.name"]),
    Index("ix_webhooks_of", "tenant"),
)
