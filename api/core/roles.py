"""Who may do what: one table.

The roles follow Security Reader, Security Operator and Security Administrator of the product whose API this
controller speaks, plus an auditor who sees the audit log and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Role(Enum):
    """A client's or a person's role; each has exactly one."""

    READER = "reader"
    OPERATOR = "operator"
    ADMINISTRATOR = "administrator"
    AUDITOR = "auditor"


class Permission(Enum):
    """What a route asks for."""

    READ = "read"
    """Machines, actions, lists, preflight results."""
    ISOLATE = "isolate"
    """Isolate, release and cancel, in the actor's own groups."""
    ADMINISTER = "administer"
    """Exclusions, groups, lists, enrolment tokens, API clients, forced release, overrides of safeguards."""
    AUDIT = "audit"
    """Read and verify the audit log."""


GRANTED: dict[Role, frozenset[Permission]] = {
    Role.READER: frozenset({Permission.READ}),
    Role.OPERATOR: frozenset({Permission.READ, Permission.ISOLATE}),
    Role.ADMINISTRATOR: frozenset(
        {Permission.READ, Permission.ISOLATE, Permission.ADMINISTER, Permission.AUDIT}
    ),
    Role.AUDITOR: frozenset({Permission.AUDIT}),
}

CLAIMS: dict[Role, tuple[str, ...]] = {
    Role.READER: ("Machine.Read.All", "Alert.Read.All"),
    Role.OPERATOR: ("Machine.Read.All", "Alert.Read.All", "Machine.Isolate"),
    Role.ADMINISTRATOR: ("Machine.Read.All", "Machine.ReadWrite.All", "Alert.Read.All", "Machine.Isolate"),
    Role.AUDITOR: ("Audit.Read.All",),
}
"""The `roles` claim of a token, in the names that existing clients look for."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks. `groups` None means every group of the tenant; an empty set means none."""

    tenant_id: str
    name: str
    role: Role
    kind: str = "client"
    """`client`, `user`, `agent`, `console` (a command on the controller's host) or `system`."""
    id: str = ""
    groups: frozenset[int] | None = None

    def may(self, permission: Permission) -> bool:
        """Whether the role grants the permission; groups are judged per machine."""
        return permission in GRANTED[self.role]

    def reaches(self, group_id: int | None) -> bool:
        """Whether a machine of this group is the actor's business; None: a machine without a group."""
        return self.groups is None or (group_id is not None and group_id in self.groups)
