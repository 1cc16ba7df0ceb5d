"""Machines that lie, comments that attack, and a browser that must not help them."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect
from sqlalchemy.exc import OperationalError

from api.services import isolation, preflights
from api.store.database import Database
from tests.e2e.portal.conftest import MakeVisitor
from tests.e2e.portal.scene import Scene
from tests.e2e.portal.tour import every_page

PROBE = "\"'><img src=x onerror=console.error('xss')><script>console.error('xss')</script>{{7*7}}"

HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


def test_every_answer_has_the_policy_and_no_page_breaks_it(scene: Scene, visitors: MakeVisitor) -> None:
    visitor = visitors("administrator")
    visitor.expected.append("404")
    for name, path in every_page(scene).items():
        answer = visitor.page.goto(f"{visitor.url}/portal{path}")
        assert answer is not None
        policy = dict(
            part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";")
        )
        assert policy["default-src"] == "'none'", name
        assert policy["script-src"] == policy["style-src"] == policy["form-action"] == "'self'", name
        assert policy["frame-ancestors"] == policy["base-uri"] == "'none'", name
        assert "unsafe" not in answer.headers["content-security-policy"], name
        assert {key: answer.headers[key] for key in HEADERS} == HEADERS, name
        assert answer.headers["cache-control"] == "no-store", name
        inline = visitor.page.evaluate(
            """[...document.querySelectorAll("*")].flatMap(e => [...e.attributes].map(a => a.name))
               .filter(name => name.startsWith("on") || name === "style").length
               + document.querySelectorAll("style, script:not([src])").length"""
        )
        assert inline == 0, name
    # Everything a page needs comes from us, and static files may be kept.
    script = visitor.page.locator("script[src*=htmx]").get_attribute("src") or ""
    kept = visitor.context.request.get(visitor.url + script)
    assert kept.headers["cache-control"].startswith("public, max-age=31536000")
    assert kept.headers["content-security-policy"]


def test_the_browser_stops_what_a_page_would_have_slipped_in(visitors: MakeVisitor) -> None:
    visitor = visitors("reader")
    visitor.page.evaluate(
        """() => { const e = document.createElement("script"); e.textContent = "window.ran = 1";
             document.body.append(e); const i = new Image(); i.src = "https://192.0.2.1/x.png"; }"""
    )
    visitor.page.wait_for_timeout(200)
    assert visitor.page.evaluate("window.ran") is None
    assert any("CSP: script-src-elem inline" in each for each in visitor.complaints)
    assert any("CSP: img-src" in each for each in visitor.complaints)
    visitor.expected += ["CSP: ", "Content Security Policy"]
    assert not visitor.page.evaluate("htmx.config.allowEval || htmx.config.includeIndicatorStyles")


def test_names_comments_and_tags_are_text_wherever_they_show(scene: Scene, visitors: MakeVisitor) -> None:
    agent = scene.machine(PROBE[:200], tags=(PROBE[:90],), os_platform=PROBE[:40])
    scene.isolate(agent, PROBE)
    scene.world.deliver(agent)
    learned = [{"name": PROBE, "address": PROBE, "port": 1, "entry": PROBE}]
    scene.report(
        agent,
        learned=learned,
        lists=[{"id": PROBE, "version": PROBE, "entries": 1}],
        error={"code": PROBE[:60], "sentence": PROBE},
    )
    with scene.world.services.database.read() as session:
        found = isolation.find_action(session, scene.world.admin, _action_of(scene, agent.machine_id))[0]
    visitor = visitors("administrator")
    machine = f"/machines/{agent.machine_id}"
    for path in ("/machines", machine, f"{machine}/isolate", f"{machine}/release", "/actions", "/audit"):
        visitor.go(path)
        expect(visitor.page.locator("main img, main script")).to_have_count(0)
    visitor.go(f"/actions/{found.id}")
    expect(visitor.page.locator("dd", has_text=PROBE).first).to_be_visible()
    assert "{{7*7}}" in visitor.page.content()
    visitor.page.goto(f"{visitor.url}/portal/machines?q={PROBE}&group=<b>&page=-1&order='--&desired=%00")
    expect(visitor.page.locator("#q")).to_have_value(PROBE)
    visitor.page.goto(f"{visitor.url}/portal/sign-in?next={PROBE}")
    expect(visitor.page.locator("body img")).to_have_count(0)


def _action_of(scene: Scene, machine_id: str) -> str:
    from sqlalchemy import select

    from api.store.tables import Action

    with scene.world.services.database.read() as session:
        return session.scalars(select(Action.id).where(Action.machine_id == machine_id)).one()


@pytest.mark.parametrize(
    "report",
    [
        {},
        {"state": 7, "lists": "all", "probe": [], "counters": None, "error": "bad"},
        {"lists": [None, 3, {"id": ["x"]}], "learned": [{"name": {}}], "enforcement": {"layers": [1, None]}},
        {"since": 1e300, "expires_at": "tomorrow", "verified_at": -1e18, "repairs": True, "generation": "x"},
        {"learned": [{"name": "n" * 10_000}] * 1000},
    ],
    ids=["empty", "other types", "odd parts", "odd times", "much"],
)
def test_a_report_of_any_shape_still_gives_a_page(
    report: dict[str, Any], scene: Scene, visitors: MakeVisitor
) -> None:
    agent = scene.agents["db-01"]
    scene.change(agent, observed=report, observed_state="isolated")
    visitor = visitors("reader")
    assert visitor.go(f"/machines/{agent.machine_id}") == 200


def test_what_was_sent_in_cannot_lead_away(scene: Scene, visitors: MakeVisitor) -> None:
    import json

    from tests.e2e.portal.scene import GOLDEN

    document = json.loads(GOLDEN.read_text("utf-8"))
    kept = preflights.take_report(scene.world.services, scene.world.admin, document, PROBE[:200])
    visitor = visitors("reader")
    assert visitor.go("/preflights") == 200
    assert visitor.go(f"/preflights/{kept.id}") == 200
    expect(visitor.page.locator("main img")).to_have_count(0)


def test_a_failure_gives_a_page_that_tells_nothing(
    scene: Scene, visitors: MakeVisitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor = visitors("administrator")
    visitor.expected += ["500", "503"]

    def burst(*_: Any, **__: Any) -> None:
        raise RuntimeError("what nobody shall see")

    with monkeypatch.context() as broken:
        broken.setattr(preflights, "list_reports", burst)
        assert visitor.go("/preflights") == 500
        assert "what nobody shall see" not in visitor.page.content()
        expect(visitor.page.get_by_text("An error in the controller")).to_be_visible()
        answer = visitor.context.request.get(f"{visitor.url}/portal/preflights")
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert answer.headers["cache-control"] == "no-store"

    def away(*_: Any, **__: Any) -> None:
        raise OperationalError("SELECT secret", {}, Exception("disk is full"))

    with monkeypatch.context() as broken:
        broken.setattr(Database, "read", away)
        assert visitor.go("/machines") == 503
        assert "SELECT" not in visitor.page.content()
        expect(visitor.page.get_by_text("The controller is busy")).to_be_visible()
    assert visitor.go("/machines") == 200


@pytest.mark.parametrize(
    ("path", "body", "kind", "status"),
    [
        ("/sign-in", b"\xff\xfe=1", "application/x-www-form-urlencoded", 400),
        ("/sign-in", b"name=%00", "application/x-www-form-urlencoded", 400),
        ("/sign-in", b"a=1&" * 400, "application/x-www-form-urlencoded", 400),
        ("/sign-in", b"a" * 100_000, "application/x-www-form-urlencoded", 413),
        ("/sign-in", b"{}", "application/json", 400),
        ("/sign-in", b"", "multipart/form-data; boundary=x", 400),
        ("/audit", b"", "application/x-www-form-urlencoded", 405),
    ],
)
def test_bodies_that_are_no_form_get_a_page_that_says_so(
    path: str, body: bytes, kind: str, status: int, visitors: MakeVisitor
) -> None:
    visitor = visitors()
    answer = visitor.context.request.post(
        f"{visitor.url}/portal{path}", data=body, headers={"Content-Type": kind, "Origin": visitor.url}
    )
    assert answer.status == status
    assert "text/html" in answer.headers["content-type"]
    assert "detail" not in answer.text()
