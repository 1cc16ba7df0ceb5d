"""The tables. Everything belongs to one tenant; secrets are held as hashes, private keys not at all."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, validates

from api.core.machine_name import name_key

Document = dict[str, Any]
_JSON = JSON().with_variant(JSONB(), "postgresql")
_ACTIVE = text("status IN ('Pending', 'InProgress')")


class Utc(TypeDecorator[datetime]):
    """Instants in UTC. SQLite keeps no offset, so it is taken off and put back here."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To the database; a naive instant is a defect, not a guess."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("an instant without offset must not reach the database")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """From the database, always with UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """The tables' common part."""

    type_annotation_map = {datetime: Utc(), Document: _JSON, list[Any]: _JSON, bytes: LargeBinary()}  # noqa: RUF012


class Tenant(Base):
    """One customer; nobody sees across."""

    __tablename__ = "tenants"
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    created_at: Mapped[datetime]
    policy: Mapped[Document] = mapped_column(default=dict)
    """What the tenant set otherwise than the settings: cap per hour, lists, geo, profile, durations."""


class Group(Base):
    """Machines that belong together; roles may be limited to groups."""

    __tablename__ = "groups"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    name: Mapped[str] = mapped_column(String(200))
    __table_args__ = (UniqueConstraint("tenant_id", "name"),)


def _key_of_new(context: DefaultExecutionContext) -> str:
    given: dict[str, Any] = context.get_current_parameters()  # type: ignore[no-untyped-call]
    return name_key(str(given["computer_name"]))


class Machine(Base):
    """One device: who it is, what it should be (`desired`) and what it was seen to be (`observed`)."""

    __tablename__ = "machines"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    """First 40 hex digits of the SHA-256 of the agent's public key."""
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"), index=True)
    public_key: Mapped[bytes]
    computer_name: Mapped[str] = mapped_column(String(255), index=True)
    name_key: Mapped[str] = mapped_column(Text, default=_key_of_new)
    """The name as names are compared; follows `computer_name` by itself."""
    group_id: Mapped[int | None] = mapped_column(ForeignKey("groups.id"))
    tags: Mapped[list[Any]] = mapped_column(default=list)
    facts: Mapped[Document] = mapped_column(default=dict)
    """What the agent says of its host: os_platform, version, os_build, architecture, processor,
    ip_addresses [{ipAddress, macAddress, operationalStatus}], agent_version, is_controller_host."""
    last_ip: Mapped[str | None] = mapped_column(String(45))
    external_ip: Mapped[str | None] = mapped_column(String(45))
    agent_version: Mapped[str] = mapped_column(String(50), default="")
    os_platform: Mapped[str] = mapped_column(String(50), default="")
    device_value: Mapped[str] = mapped_column(String(20), default="Normal")
    first_seen: Mapped[datetime]
    last_seen: Mapped[datetime]
    enrolled_at: Mapped[datetime]
    unenrolled_at: Mapped[datetime | None]
    excluded_reason: Mapped[str | None] = mapped_column(Text)

    desired: Mapped[str] = mapped_column(String(10), default="connected")
    """`connected` or `isolated`."""
    desired_scope: Mapped[str | None] = mapped_column(String(10))
    generation: Mapped[int] = mapped_column(default=0)
    """Rises with every order; the agent obeys no lower one."""

    observed: Mapped[Document | None]
    """The agent's last report, as it came."""
    observed_state: Mapped[str] = mapped_column(String(12), default="unknown")
    """`connected`, `isolating`, `isolated`, `releasing` or `unknown`."""
    observed_generation: Mapped[int] = mapped_column(default=0)
    observed_at: Mapped[datetime | None]
    verified_at: Mapped[datetime | None]
    """When the agent last proved the observed state; None when it never did."""

    sequence: Mapped[int] = mapped_column(BigInteger, default=0)
    """The number of the last request taken from this agent; a lower or equal one is a replay."""
    incarnation: Mapped[str] = mapped_column(String(32), default="")
    past_incarnations: Mapped[list[Any]] = mapped_column(default=list)
    """Earlier runs of the agent, newest first, bounded; one that comes back is a clone."""
    duplicate_since: Mapped[datetime | None]
    """Since when two holders of the same key were seen; nothing counts as verified until cleared."""
    same_name_as: Mapped[str | None] = mapped_column(String(40))
    """Another machine that had this name when this one took it; until an administrator dismisses it."""
    __table_args__ = (
        Index("machines_by_seen", "tenant_id", "last_seen"),
        Index("machines_by_address", "tenant_id", "last_ip"),
        Index("machines_by_name", "tenant_id", "name_key"),
    )

    @validates("computer_name")
    def _compare_by(self, _column: str, name: str) -> str:
        self.name_key = name_key(name)
        return name


class AddressSpan(Base):
    """From when to when a machine had an address; addresses move between machines, and orders must not."""

    __tablename__ = "address_spans"
    machine_id: Mapped[str] = mapped_column(ForeignKey("machines.id"), primary_key=True)
    address: Mapped[str] = mapped_column(String(45), primary_key=True)
    since: Mapped[datetime] = mapped_column(primary_key=True)
    until: Mapped[datetime | None]
    """None: as long as the machine is seen."""
    __table_args__ = (Index("spans_by_address", "address", "since"),)


class Order(Base):
    """The signed order of one generation, exactly as the agent gets it."""

    __tablename__ = "orders"
    machine_id: Mapped[str] = mapped_column(ForeignKey("machines.id"), primary_key=True)
    generation: Mapped[int] = mapped_column(primary_key=True)
    action_id: Mapped[str | None] = mapped_column(String(36), index=True)
    payload: Mapped[bytes]
    signature: Mapped[bytes]
    key_id: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime]
    not_after: Mapped[datetime]


class Action(Base):
    """A machine action as the API shows it, with the three steps ordered, applied, verified."""

    __tablename__ = "actions"
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    machine_id: Mapped[str] = mapped_column(ForeignKey("machines.id"))
    type: Mapped[str] = mapped_column(String(30))
    """`Isolate` or `Unisolate`."""
    scope: Mapped[str | None] = mapped_column(String(10))
    status: Mapped[str] = mapped_column(String(12))
    generation: Mapped[int]
    title: Mapped[str | None] = mapped_column(Text)
    requestor: Mapped[str] = mapped_column(String(255))
    requestor_role: Mapped[str] = mapped_column(String(20))
    comment: Mapped[str] = mapped_column(Text)
    external_id: Mapped[str | None] = mapped_column(String(255))
    request_source: Mapped[str] = mapped_column(String(50), default="PublicApi")
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    delivered_at: Mapped[datetime | None]
    applied_at: Mapped[datetime | None]
    verified_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    cancelled_by: Mapped[str | None] = mapped_column(String(255))
    cancel_comment: Mapped[str | None] = mapped_column(Text)
    cancelled_at: Mapped[datetime | None]
    error_code: Mapped[str | None] = mapped_column(String(60))
    error_text: Mapped[str | None] = mapped_column(Text)
    evidence: Mapped[Document | None]
    """The report that verified or failed it."""
    overrides: Mapped[list[Any]] = mapped_column(default=list)
    """Safeguards that were overridden with an explicit flag."""
    __table_args__ = (
        Index(
            "one_active_action",
            "machine_id",
            unique=True,
            sqlite_where=_ACTIVE,
            postgresql_where=_ACTIVE,
        ),
        Index("actions_by_time", "tenant_id", "created_at"),
        Index("actions_by_machine", "machine_id", "created_at"),
    )


class ActionStep(Base):
    """One line of an action's timeline."""

    __tablename__ = "action_steps"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    action_id: Mapped[str] = mapped_column(ForeignKey("actions.id"), index=True)
    at: Mapped[datetime]
    what: Mapped[str] = mapped_column(String(20))
    """`ordered` or a value of ActionEvent."""
    detail: Mapped[Document] = mapped_column(default=dict)


class ApiClient(Base):
    """A program that calls the API; its secret is kept as a hash."""

    __tablename__ = "api_clients"
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    name: Mapped[str] = mapped_column(String(200))
    role: Mapped[str] = mapped_column(String(20))
    groups: Mapped[list[Any] | None]
    """Group ids the client is limited to; None for all."""
    secret_hash: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(255))
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    __table_args__ = (UniqueConstraint("tenant_id", "name"),)


class User(Base):
    """A person with a local account, or one known by single sign-on (then without a password)."""

    __tablename__ = "users"
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    name: Mapped[str] = mapped_column(String(200))
    role: Mapped[str] = mapped_column(String(20))
    groups: Mapped[list[Any] | None]
    password_hash: Mapped[str | None] = mapped_column(String(200))
    must_change_password: Mapped[bool] = mapped_column(default=False)
    subject: Mapped[str | None] = mapped_column(String(255))
    """`issuer|sub` of the identity provider."""
    language: Mapped[str] = mapped_column(String(5), default="")
    created_at: Mapped[datetime]
    last_login_at: Mapped[datetime | None]
    disabled_at: Mapped[datetime | None]
    __table_args__ = (UniqueConstraint("tenant_id", "name"), UniqueConstraint("subject"))


class Session(Base):
    """A signed-in browser. The cookie's value is kept as a hash."""

    __tablename__ = "sessions"
    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    csrf_token: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class EnrolmentToken(Base):
    """Permission to enrol: counted, expiring, kept as a hash."""

    __tablename__ = "enrolment_tokens"
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    hint: Mapped[str] = mapped_column(String(8))
    """The first characters, so that a person can tell tokens apart."""
    group_id: Mapped[int | None] = mapped_column(ForeignKey("groups.id"))
    uses_left: Mapped[int]
    uses: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(255))
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class Exclusion(Base):
    """A destination that Selective isolation leaves open; frozen into the order at isolation time."""

    __tablename__ = "exclusions"
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    name: Mapped[str] = mapped_column(String(200))
    spec: Mapped[Document]
    """direction, remote, port, protocol, process: the keys of agent.yaml's exclusions."""
    group_id: Mapped[int | None] = mapped_column(ForeignKey("groups.id"))
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(255))
    __table_args__ = (UniqueConstraint("tenant_id", "name"),)


class AuditRow(Base):
    """One link of a tenant's audit chain; rows are only ever added (a trigger sees to it)."""

    __tablename__ = "audit"
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    content: Mapped[str] = mapped_column(Text)
    """Canonical JSON, as hashed: at, actor {name, kind, role}, action, target, detail."""
    previous: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))


class AuditHead(Base):
    """The end of a tenant's chain, with its signature; its row is also what writers wait for."""

    __tablename__ = "audit_heads"
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    seq: Mapped[int]
    hash: Mapped[str] = mapped_column(String(64))
    signature: Mapped[bytes]
    key_id: Mapped[str] = mapped_column(String(16))


class Preflight(Base):
    """A connectivity report that a device or a team sent in."""

    __tablename__ = "preflights"
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    hostname: Mapped[str] = mapped_column(String(255))
    machine_id: Mapped[str | None] = mapped_column(String(40))
    received_at: Mapped[datetime]
    received_from: Mapped[str] = mapped_column(String(255))
    list_id: Mapped[str] = mapped_column(String(60), default="")
    reachable: Mapped[int] = mapped_column(default=0)
    blocked: Mapped[int] = mapped_column(default=0)
    degraded: Mapped[int] = mapped_column(default=0)
    not_probeable: Mapped[int] = mapped_column(default=0)
    unexplained: Mapped[int] = mapped_column(default=0)
    document: Mapped[Document]
    __table_args__ = (Index("preflights_by_time", "tenant_id", "received_at"),)


class Outgoing(Base):
    """An event on its way to webhook, syslog or file; gone when every receiver took it."""

    __tablename__ = "outgoing"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    tenant_id: Mapped[str] = mapped_column(String(36))
    receiver: Mapped[str] = mapped_column(String(200))
    kind: Mapped[str] = mapped_column(String(40))
    body: Mapped[Document]
    created_at: Mapped[datetime]
    attempts: Mapped[int] = mapped_column(default=0)
    next_attempt_at: Mapped[datetime]
