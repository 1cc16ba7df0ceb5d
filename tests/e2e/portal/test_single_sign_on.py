"""Signing in at an identity provider, and answers of it that must not be believed."""

from __future__ import annotations

import base64
import json
import socket
import time
from collections.abc import Callable, Iterator

import pytest
from joserfc.jwk import RSAKey
from playwright.sync_api import expect
from sqlalchemy import select

from api.services import groups
from api.settings import Settings, SingleSignOn
from api.store.tables import User
from tests.e2e.portal.conftest import MakeVisitor
from tests.e2e.portal.identity_provider import CLIENT, SECRET, Provider, running, shared_key
from tests.e2e.portal.scene import Scene, build, serving


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with running() as made:
        yield made


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Scene]:
    """A controller that trusts the provider."""
    directory = tmp_path_factory.mktemp("controller")
    (directory / "secret").write_text(SECRET + "\n")
    listener = socket.create_server(("127.0.0.1", 0))
    settings = Settings(
        state_dir=directory,
        public_url=f"https://127.0.0.1:{listener.getsockname()[1]}",
        single_sign_on=SingleSignOn(
            issuer=provider.issuer,
            client_id=CLIENT,
            client_secret_file=directory / "secret",
            roles={"soc-leads": "administrator", "soc-analysts": "operator"},
            group_claim="teams",
            name="Company ID",
        ),
    )
    made = build(directory, settings)
    groups.create_group(made.world.services, made.world.admin, "Lab")
    try:
        with serving(made, directory, listener):
            yield made
    finally:
        made.world.services.database.close()


@pytest.fixture(autouse=True)
def honest(provider: Provider) -> Iterator[None]:
    """After each test the provider behaves again."""
    yield
    provider.claims, provider.answer, provider.header = {}, {}, {}
    provider.signing_key, provider.named_issuer = None, ""


def people(scene: Scene) -> dict[str, User]:
    with scene.world.services.database.read() as session:
        return {each.name: each for each in session.scalars(select(User))}


def test_sign_in_at_the_provider_and_come_back(
    scene: Scene, provider: Provider, visitors: MakeVisitor
) -> None:
    provider.claims = {"teams": ["Lab", "Elsewhere"]}
    visitor = visitors()
    visitor.go("/actions?status=Failed")
    visitor.page.get_by_role("link", name="Sign in with Company ID").click()
    visitor.page.wait_for_url("**/portal/actions?status=Failed")
    expect(visitor.page.locator(".who")).to_contain_text("sato")
    [user] = people(scene).values()
    assert (user.role, user.subject, user.password_hash) == ("operator", f"{provider.issuer}|1234", None)
    assert user.groups == [1]
    assert not [each for each in visitor.context.cookies() if "attempt" in each["name"]], "used up"


def test_role_and_groups_are_what_the_provider_says_today(
    scene: Scene, provider: Provider, visitors: MakeVisitor
) -> None:
    provider.claims = {"roles": ["soc-leads", "soc-analysts"], "teams": []}
    visitors().go("/single-sign-on")
    [user] = people(scene).values()
    assert (user.role, user.groups) == ("administrator", [])


def lie_about_claims(**claims: object) -> Callable[[Provider], None]:
    def lie(provider: Provider) -> None:
        provider.claims = dict(claims)

    return lie


def lie_about_the_state(provider: Provider) -> None:
    provider.answer = {"state": "another"}


def lie_about_the_sender(provider: Provider) -> None:
    provider.answer = {"iss": "https://elsewhere.example"}


def lie_about_the_code(provider: Provider) -> None:
    provider.answer = {"code": "guessed"}


def refuse(provider: Provider) -> None:
    provider.answer = {"error": "access_denied"}


def sign_with_another_key(provider: Provider) -> None:
    provider.signing_key = RSAKey.generate_key(2048)


def sign_with_a_shared_secret(provider: Provider) -> None:
    provider.header = {"alg": "HS256"}
    provider.signing_key = shared_key()


def call_itself_another(provider: Provider) -> None:
    provider.named_issuer = "https://elsewhere.example"


@pytest.mark.parametrize(
    ("lie", "status"),
    [
        (lie_about_the_state, 401),
        (lie_about_the_sender, 401),
        (lie_about_the_code, 401),
        (refuse, 401),
        (sign_with_another_key, 401),
        (sign_with_a_shared_secret, 401),
        (lie_about_claims(nonce="replayed"), 401),
        (lie_about_claims(nonce=None), 401),
        (lie_about_claims(aud="another client"), 401),
        (lie_about_claims(aud=[CLIENT, "another"], azp="another"), 401),
        (lie_about_claims(iss="https://elsewhere.example"), 401),
        (lie_about_claims(exp=int(time.time()) - 3600), 401),
        (lie_about_claims(exp=None), 401),
        (lie_about_claims(sub=None), 401),
        (lie_about_claims(roles=["guests"]), 403),
        (lie_about_claims(roles={"soc-leads": True}), 403),
        (call_itself_another, 503),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_an_answer_that_is_not_right_lets_nobody_in(
    lie: Callable[[Provider], None], status: int, provider: Provider, visitors: MakeVisitor
) -> None:
    lie(provider)
    visitor = visitors()
    visitor.expected.append(str(status))
    assert visitor.go("/single-sign-on") == status
    expect(visitor.page.get_by_role("alert").first).to_be_visible()
    assert not [each for each in visitor.context.cookies() if each["name"] == "__Host-isolator"]


def test_an_answer_to_nobodys_question_is_refused(provider: Provider, visitors: MakeVisitor) -> None:
    visitor = visitors()
    visitor.expected.append("401")
    assert visitor.go("/single-sign-on/callback?code=x&state=y") == 401
    for odd in ("", "%%%", base64.urlsafe_b64encode(json.dumps([1]).encode()).decode()):
        visitor.context.add_cookies(
            [{"name": "__Host-isolator-attempt", "value": odd or "x", "url": visitor.url, "secure": True}]
        )
        assert visitor.go("/single-sign-on/callback?code=x&state=y") == 401


def test_a_code_is_not_taken_twice(provider: Provider, visitors: MakeVisitor) -> None:
    visitor = visitors()
    answers: list[str] = []
    visitor.page.on("request", lambda each: answers.append(each.url) if "callback" in each.url else None)
    visitor.go("/single-sign-on")
    thief = visitors()
    thief.expected.append("401")
    answer = thief.page.goto(answers[0])
    assert answer is not None
    assert answer.status == 401


def test_a_disabled_person_stays_out(scene: Scene, provider: Provider, visitors: MakeVisitor) -> None:
    visitors().go("/single-sign-on")
    with scene.world.services.database.write() as session:
        for user in session.scalars(select(User)):
            user.disabled_at = scene.world.clock.now()
    visitor = visitors()
    visitor.expected.append("401")
    assert visitor.go("/single-sign-on") == 401
