"""Roles and groups: the table of who may do what, written out once more by hand."""

from __future__ import annotations

import dataclasses

import pytest

from api.core.roles import CLAIMS, GRANTED, Actor, Permission, Role

MAY = {
    Role.READER: {Permission.READ},
    Role.OPERATOR: {Permission.READ, Permission.ISOLATE},
    Role.ADMINISTRATOR: {Permission.READ, Permission.ISOLATE, Permission.ADMINISTER, Permission.AUDIT},
    Role.AUDITOR: {Permission.AUDIT},
}


@pytest.mark.parametrize("role", Role)
def test_may(role: Role) -> None:
    actor = Actor("tenant", "somebody", role)
    assert {each for each in Permission if actor.may(each)} == MAY[role]


def test_every_role_has_its_rows() -> None:
    assert set(GRANTED) == set(CLAIMS) == set(Role)


@pytest.mark.parametrize(
    ("role", "isolates", "writes"),
    [
        (Role.READER, False, False),
        (Role.OPERATOR, True, False),
        (Role.ADMINISTRATOR, True, True),
        (Role.AUDITOR, False, False),
    ],
)
def test_the_claims_of_a_token_promise_no_more_than_the_role(
    role: Role, *, isolates: bool, writes: bool
) -> None:
    claims = CLAIMS[role]
    assert ("Machine.Isolate" in claims) == isolates == (Permission.ISOLATE in GRANTED[role])
    assert ("Machine.ReadWrite.All" in claims) == writes
    assert ("Machine.Read.All" in claims) == (Permission.READ in GRANTED[role])
    assert len(set(claims)) == len(claims)


@pytest.mark.parametrize(
    ("groups", "group_id", "reached"),
    [
        (None, 1, True),
        (None, None, True),
        (frozenset({1}), 1, True),
        (frozenset({1}), 2, False),
        (frozenset({1}), None, False),
        (frozenset(), 1, False),
        (frozenset(), None, False),
        # 0 is "no group" in Microsoft's answers; it must not be taken for None.
        (frozenset({0}), None, False),
    ],
)
def test_reaches(groups: frozenset[int] | None, group_id: int | None, *, reached: bool) -> None:
    assert Actor("tenant", "somebody", Role.OPERATOR, groups=groups).reaches(group_id) == reached


def test_an_actor_cannot_be_changed() -> None:
    actor = Actor("tenant", "somebody", Role.READER)
    with pytest.raises(dataclasses.FrozenInstanceError):
        actor.role = Role.ADMINISTRATOR  # type: ignore[misc]
