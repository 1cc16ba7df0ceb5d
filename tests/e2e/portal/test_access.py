"""Who gets in, who sees what, how long, and what a forged request meets."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from playwright.sync_api import expect
from sqlalchemy import select

from api.core.roles import Role
from api.services import groups, users
from api.store.tables import Session as SessionRow
from api.store.tables import User
from tests.e2e.portal.conftest import MakeVisitor
from tests.e2e.portal.scene import PASSWORD, Scene

READERS = ("/machines", "/actions", "/preflights")
AUDITORS = ("/audit",)
ADMINISTRATORS = ("/enrolment", "/clients", "/exclusions", "/groups", "/users")
EVERYBODY = ("/account", "/password")

SEES = {
    "reader": READERS,
    "operator": READERS,
    "administrator": READERS + AUDITORS + ADMINISTRATORS,
    "auditor": AUDITORS,
}


@pytest.fixture
def later(scene: Scene) -> Iterator[timedelta]:
    """Put the controller's clock back after the test."""
    before = scene.world.clock.ahead
    yield before
    scene.world.clock.ahead = before


@pytest.mark.parametrize("role", list(SEES))
def test_each_role_sees_its_pages_and_no_other(role: str, visitors: MakeVisitor) -> None:
    visitor = visitors(role)
    visitor.expected.append("403")
    got = {path: visitor.go(path) for path in (*READERS, *AUDITORS, *ADMINISTRATORS, *EVERYBODY)}
    assert got == {path: 200 if path in (*SEES[role], *EVERYBODY) else 403 for path in got}
    visitor.go("/account")
    linked = {each.get_attribute("href") for each in visitor.page.locator(".nav a").all()}
    assert linked == {f"/portal{path}" for path in SEES[role]}, "the menu offers what the role may see"


def test_a_reader_is_offered_no_order_and_gets_none(scene: Scene, visitors: MakeVisitor) -> None:
    visitor = visitors("reader")
    machine = f"/machines/{scene.agents['web-01'].machine_id}"
    visitor.go(machine)
    expect(visitor.page.get_by_role("link", name="Isolate", exact=True)).to_have_count(0)
    visitor.expected.append("403")
    assert visitor.go(f"{machine}/isolate") == 403
    token = visitor.page.locator("input[name=csrf]").first.get_attribute("value")
    answer = visitor.context.request.post(
        f"{visitor.url}/portal{machine}/isolate",
        form={"csrf": token or "", "comment": "x", "scope": "full", "generation": "0"},
        headers={"Origin": visitor.url},
    )
    assert answer.status == 403
    assert scene.world.machine(scene.agents["web-01"]).generation == 0


def test_a_person_limited_to_a_group_sees_no_other_machine(scene: Scene, visitors: MakeVisitor) -> None:
    services, admin = scene.world.services, scene.world.admin
    lab = groups.create_group(services, admin, "Lab").id
    scene.machine("lab-01", group=lab)
    scene.person("lab-operator", Role.OPERATOR, [lab])
    visitor = visitors("lab-operator")
    expect(visitor.page.locator("[data-row]")).to_have_text(["lab-01"])
    visitor.expected.append("404")
    other = scene.agents["web-01"].machine_id
    for path in (f"/machines/{other}", "/machines/web-01", f"/machines/{other}/isolate"):
        assert visitor.go(path) == 404
    visitor.go("/actions")
    expect(visitor.page.get_by_text("No orders")).to_be_visible()


def test_the_cookie_is_for_this_host_only_and_out_of_reach_of_scripts(visitors: MakeVisitor) -> None:
    visitor = visitors()
    visitor.sign_in("reader")
    [cookie] = [each for each in visitor.context.cookies() if each["name"] == "__Host-isolator"]
    assert cookie["secure"]
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Lax"
    assert cookie["path"] == "/"
    assert not cookie["domain"].startswith(".")
    assert visitor.page.evaluate("document.cookie") == ""


def test_signing_in_gives_a_new_session_and_ends_the_old(scene: Scene, visitors: MakeVisitor) -> None:
    visitor = visitors("reader")
    [first] = [each["value"] for each in visitor.context.cookies() if each["name"] == "__Host-isolator"]
    visitor.go("/sign-in")
    visitor.sign_in("reader")
    [second] = [each["value"] for each in visitor.context.cookies() if each["name"] == "__Host-isolator"]
    assert first != second
    thief = visitors()
    thief.context.add_cookies(
        [{"name": "__Host-isolator", "value": first, "url": visitor.url, "secure": True, "httpOnly": True}]
    )
    thief.go("/machines")
    assert "/sign-in" in thief.page.url
    with scene.world.services.database.read() as session:
        kept = session.scalars(select(SessionRow.token_hash)).all()
    assert second not in kept, "the database holds a hash"


def test_a_wrong_password_says_nothing_about_the_account(visitors: MakeVisitor) -> None:
    visitor = visitors()
    visitor.expected.append("401")
    said = []
    for name in ("reader", "nobody"):
        visitor.sign_in(name, "not the password")
        said.append(visitor.page.get_by_role("alert").inner_text())
        assert visitor.page.locator("#name").input_value() == name
    assert said[0] == said[1]
    assert [each for each in visitor.context.cookies() if each["name"] == "__Host-isolator"] == []


def test_the_first_sign_in_leads_to_a_password_of_ones_own(scene: Scene, visitors: MakeVisitor) -> None:
    made = users.create(scene.world.services, scene.world.admin, "newcomer", Role.READER)
    visitor = visitors()
    visitor.go("/machines?q=web")
    visitor.sign_in("newcomer", made.password)
    assert "/portal/password" in visitor.page.url
    visitor.go("/machines")
    assert "/portal/password" in visitor.page.url, "no way round it"
    visitor.expected.append("400")
    for label, text in (("Present password", made.password), ("New password", "another long sentence")):
        visitor.page.get_by_label(label, exact=True).fill(text)
    visitor.page.get_by_label("New password again").fill("another long sentense")
    visitor.page.get_by_role("button", name="Change the password").click()
    expect(visitor.page.get_by_role("alert").filter(has_text="not the same")).to_be_visible()
    visitor.page.get_by_label("Present password").fill(made.password)
    visitor.page.get_by_label("New password", exact=True).fill("another long sentence")
    visitor.page.get_by_label("New password again").fill("another long sentence")
    visitor.page.get_by_role("button", name="Change the password").click()
    visitor.page.wait_for_url("**/portal/machines")
    elsewhere = visitors()
    elsewhere.sign_in("newcomer", "another long sentence")
    assert elsewhere.page.url.endswith("/portal/machines")


def test_an_expired_session_leads_to_sign_in_and_back(
    scene: Scene, visitors: MakeVisitor, later: timedelta
) -> None:
    visitor = visitors("operator")
    visitor.expected.append("401")
    visitor.go("/machines?q=web&observed=connected")
    scene.world.clock.ahead = later + timedelta(minutes=31)
    # Nobody does anything: the live list asks by itself, and htmx is sent to the sign-in page as a whole.
    visitor.page.wait_for_url("**/portal/sign-in?next=*")
    visitor.sign_in("operator")
    assert visitor.page.url.endswith("/portal/machines?q=web&observed=connected")


def test_a_page_that_lives_by_itself_keeps_no_session_alive(
    scene: Scene, visitors: MakeVisitor, later: timedelta
) -> None:
    visitor = visitors("operator")
    live, page = {"X-Isolator-Live": "1", "HX-Request": "true"}, f"{visitor.url}/portal/machines"
    for minutes in (10, 20, 29):
        scene.world.clock.ahead = later + timedelta(minutes=minutes)
        assert visitor.context.request.get(page, headers=live).status == 200
    scene.world.clock.ahead = later + timedelta(minutes=31)
    assert visitor.context.request.get(page, headers=live).status == 401


def test_what_a_person_does_keeps_it_alive_until_the_absolute_end(
    scene: Scene, visitors: MakeVisitor, later: timedelta
) -> None:
    visitor = visitors("operator")
    request, page = visitor.context.request, f"{visitor.url}/portal/machines"
    for minutes in range(20, 12 * 60, 20):
        scene.world.clock.ahead = later + timedelta(minutes=minutes)
        assert request.get(page, max_redirects=0).status == 200, minutes
    scene.world.clock.ahead = later + timedelta(minutes=12 * 60 + 1)
    assert request.get(page, max_redirects=0).status == 303


def test_signing_out_everywhere_ends_every_browser(visitors: MakeVisitor) -> None:
    one, other = visitors("auditor"), visitors("auditor")
    one.go("/account")
    one.page.get_by_role("button", name="Sign out everywhere").click()
    one.page.wait_for_url("**/portal/sign-in")
    other.go("/audit")
    assert "/sign-in" in other.page.url


def test_a_disabled_account_is_out_at_once(scene: Scene, visitors: MakeVisitor) -> None:
    gone = scene.person("leaver", Role.READER)
    visitor = visitors("leaver")
    with scene.world.services.database.write() as session:
        session.get_one(User, gone.id).disabled_at = scene.world.clock.now()
    visitor.go("/machines")
    assert "/sign-in" in visitor.page.url


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://["},
        {},
        {"Sec-Fetch-Site": "cross-site"},
    ],
    ids=["other site", "sandboxed frame", "no address", "no origin", "cross-site"],
)
def test_another_sites_request_is_refused_even_with_the_token(
    headers: dict[str, str], scene: Scene, visitors: MakeVisitor
) -> None:
    visitor = visitors("operator")
    token = visitor.page.locator("input[name=csrf]").first.get_attribute("value") or ""
    agent = scene.agents["web-01"]
    fields: dict[str, str | float | bool] = {
        "csrf": token,
        "comment": "forged",
        "scope": "full",
        "generation": "0",
    }
    for path in (f"/machines/{agent.machine_id}/isolate", "/sign-out", "/preferences", "/sign-in"):
        answer = visitor.context.request.post(f"{visitor.url}/portal{path}", form=fields, headers=headers)
        assert answer.status == 403, path
    assert scene.world.machine(agent).generation == 0
    assert visitor.go("/machines") == 200, "still signed in"


@pytest.mark.parametrize("token", ["", "wrong", "é" * 43])
def test_a_request_without_the_pages_token_is_refused(
    token: str, scene: Scene, visitors: MakeVisitor
) -> None:
    visitor = visitors("administrator")
    for path in ("/enrolment", "/clients", "/users", "/groups", "/exclusions", "/audit/check", "/password"):
        answer = visitor.context.request.post(
            f"{visitor.url}/portal{path}", form={"csrf": token}, headers={"Origin": visitor.url}
        )
        assert answer.status == 403, path


@pytest.mark.parametrize(
    "wanted",
    ["https://evil.example/", "//evil.example/", "/portal/../api", "/\\evil.example", "javascript:alert(1)"],
)
def test_sign_in_leads_nowhere_else(wanted: str, visitors: MakeVisitor) -> None:
    visitor = visitors()
    visitor.page.goto(f"{visitor.url}/portal/sign-in?next={wanted}")
    visitor.sign_in("reader")
    assert visitor.page.url.startswith(f"{visitor.url}/"), visitor.page.url
    assert "evil" not in visitor.page.url


def test_the_language_goes_with_the_account_and_the_theme_with_the_browser(visitors: MakeVisitor) -> None:
    visitor = visitors("reader")
    visitor.page.get_by_role("button", name="日本語").click()
    expect(visitor.page.locator("h1")).to_have_text("デバイス")
    assert visitor.page.locator("html").get_attribute("lang") == "ja"
    visitor.page.get_by_role("button", name="ダーク").click()
    expect(visitor.page.locator("html")).to_have_class("theme-dark")
    background = visitor.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == "rgb(14, 19, 27)"
    elsewhere = visitors("reader")
    expect(elsewhere.page.locator("h1")).to_have_text("デバイス")
    expect(elsewhere.page.locator("html")).not_to_have_class("theme-dark")
    elsewhere.page.get_by_role("button", name="English").click()
    expect(elsewhere.page.locator("h1")).to_have_text("Machines")


def test_guessing_is_slowed_down(visitors: MakeVisitor) -> None:
    visitor = visitors()
    seen = set()
    for _ in range(12):
        answer = visitor.context.request.post(
            f"{visitor.url}/portal/sign-in",
            form={"name": "operator", "password": "guess"},
            headers={"Origin": visitor.url},
        )
        seen.add(answer.status)
    assert 429 in seen
    answer = visitor.context.request.post(
        f"{visitor.url}/portal/sign-in",
        form={"name": "operator", "password": PASSWORD},
        headers={"Origin": visitor.url},
    )
    assert answer.status == 429
    assert int(answer.headers["retry-after"]) > 0
