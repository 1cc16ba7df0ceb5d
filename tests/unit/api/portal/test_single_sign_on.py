"""Who the provider's claims say it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.portal.single_sign_on import MAX_SUBJECT, _person
from api.problems import Problem
from api.settings import SingleSignOn

SETTINGS = SingleSignOn(
    issuer="https://id.example",
    client_id="portal",
    client_secret_file=Path("secret"),
    role_claim="roles",
    roles={"admins": "administrator"},
)


def test_two_people_with_long_identifiers_never_become_one() -> None:
    longest = "s" * (MAX_SUBJECT - len("https://id.example|"))
    claims = {"roles": ["admins"], "name": "Ann"}
    assert len(_person(SETTINGS, {**claims, "sub": longest}).subject) == MAX_SUBJECT
    for more in ("1", "2"):
        with pytest.raises(Problem, match="too long"):
            _person(SETTINGS, {**claims, "sub": longest + more})
