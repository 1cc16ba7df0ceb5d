"""API clients and people, as administrators see them. Field names follow the API's spelling."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.core.instant import render_instant
from api.core.roles import Role
from api.store.tables import ApiClient, User

_GroupId = Annotated[int, Field(ge=1, le=2**31 - 1)]


class CallerBody(BaseModel):
    """Who is to be made: a name, one role, and the groups it is limited to (absent: none, all groups)."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(min_length=1, max_length=200)
    role: Literal["reader", "operator", "administrator", "auditor"]
    groups: list[_GroupId] | None = Field(default=None, max_length=1000)

    def as_role(self) -> Role:
        """The role as the services know it."""
        return Role(self.role)


class ClientOut(BaseModel):
    """An API client. Its secret is not in it."""

    id: str
    name: str
    role: str
    groups: list[int] | None
    createdAt: str | None  # noqa: N815
    createdBy: str  # noqa: N815
    lastUsedAt: str | None  # noqa: N815
    revokedAt: str | None  # noqa: N815


class NewClientOut(ClientOut):
    """A client just made, with the only sight of its secret, and where it gets its tokens."""

    tenantId: str  # noqa: N815
    secret: str


class UserOut(BaseModel):
    """A person's account."""

    id: str
    name: str
    role: str
    groups: list[int] | None
    singleSignOn: bool  # noqa: N815
    mustChangePassword: bool  # noqa: N815
    createdAt: str | None  # noqa: N815
    lastLoginAt: str | None  # noqa: N815
    disabledAt: str | None  # noqa: N815


class NewUserOut(UserOut):
    """An account with a fresh first password, shown this once."""

    password: str


def client_out(client: ApiClient) -> ClientOut:
    """The row as the API shows it."""
    return ClientOut(
        id=client.id,
        name=client.name,
        role=client.role,
        groups=client.groups,
        createdAt=render_instant(client.created_at),
        createdBy=client.created_by,
        lastUsedAt=render_instant(client.last_used_at),
        revokedAt=render_instant(client.revoked_at),
    )


def user_out(user: User) -> UserOut:
    """The row as the API shows it."""
    return UserOut(
        id=user.id,
        name=user.name,
        role=user.role,
        groups=user.groups,
        singleSignOn=user.subject is not None,
        mustChangePassword=user.must_change_password,
        createdAt=render_instant(user.created_at),
        lastLoginAt=render_instant(user.last_login_at),
        disabledAt=render_instant(user.disabled_at),
    )
