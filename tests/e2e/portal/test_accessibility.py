"""For everybody: axe on every page, by keyboard alone, on small windows, without motion, without scripts."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Page, expect

from tests.e2e.portal.conftest import MakeVisitor
from tests.e2e.portal.scene import PASSWORD, Scene
from tests.e2e.portal.tour import every_page

BAD = ("serious", "critical")

GUIDELINES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


def findings(page: Page) -> list[str]:
    """What axe holds against the page: rule, and the first element of each."""
    found = Axe().run(page, options=GUIDELINES).response["violations"]
    return [f"{each['id']}: {each['nodes'][0]['html'][:160]}" for each in found if each["impact"] in BAD]


@pytest.mark.parametrize(
    ("theme", "locale", "width"), [("light", "en-GB", 1440), ("dark", "ja-JP", 1440), ("dark", "en-GB", 360)]
)
def test_axe_finds_nothing_serious(
    theme: str, locale: str, width: int, scene: Scene, visitors: MakeVisitor
) -> None:
    options = {"color_scheme": theme, "locale": locale, "viewport": {"width": width, "height": 800}}
    visitor = visitors(**options)
    visitor.expected.append("404")
    visitor.go("/sign-in")
    found = {"sign-in": findings(visitor.page)}
    visitor.sign_in("administrator")
    for name, path in every_page(scene).items():
        visitor.go(path)
        found[name] = findings(visitor.page)
    assert {name: each for name, each in found.items() if each} == {}


def test_axe_would_find_something(visitors: MakeVisitor) -> None:
    visitor = visitors("reader")
    visitor.page.evaluate("document.querySelector('#group').removeAttribute('id')")
    assert any("select-name" in each for each in findings(visitor.page))


@pytest.mark.parametrize(
    ("width", "locale"), [(320, "en-GB"), (360, "ja-JP"), (768, "en-GB"), (1440, "ja-JP")]
)
def test_no_page_is_wider_than_the_window(
    width: int, locale: str, scene: Scene, visitors: MakeVisitor
) -> None:
    visitor = visitors("administrator", viewport={"width": width, "height": 700}, locale=locale)
    visitor.expected.append("404")
    wide = {}
    for name, path in every_page(scene).items():
        visitor.go(path)
        wide[name] = visitor.page.evaluate("document.documentElement.scrollWidth")
    assert {name: each for name, each in wide.items() if each > width} == {}


def press(page: Page, *keys: str) -> None:
    for each in keys:
        page.keyboard.press(each)


def tab_to(page: Page, name: str) -> None:
    """Press Tab until the focus is on the element with this text; the focus is always to be seen."""
    for _ in range(80):
        page.keyboard.press("Tab")
        here = page.evaluate(
            """() => { const e = document.activeElement; const s = getComputedStyle(e);
                 return [e.innerText || e.labels?.[0]?.innerText || "", s.outlineStyle, s.outlineWidth]; }"""
        )
        if name in here[0]:
            assert here[1] != "none", f"nobody sees that {name} has the focus"
            return
    raise AssertionError(f"{name} is not reached by Tab")


def test_isolate_by_keyboard_alone(scene: Scene, visitors: MakeVisitor) -> None:
    agent = scene.machine("keys-only")
    visitor = visitors()
    page = visitor.page
    visitor.go("/sign-in")
    page.keyboard.type("operator")
    press(page, "Tab")
    page.keyboard.type(PASSWORD)
    press(page, "Enter")
    page.wait_for_url("**/portal/machines")
    press(page, "/")
    page.keyboard.type("keys-only")
    expect(page.locator("[data-row]")).to_have_text(["keys-only"])
    press(page, "Escape", "Tab")
    page.evaluate("document.activeElement.blur()")
    press(page, "j", "Enter")
    page.wait_for_url(f"**/portal/machines/{agent.machine_id}")
    press(page, "i")
    page.wait_for_url("**/isolate")
    expect(page.locator("#comment")).to_be_focused()
    page.keyboard.type("typed: i r g m /")
    tab_to(page, "Isolate now")
    press(page, "Enter")
    page.wait_for_url("**/portal/actions/*")
    scene.obey(agent)
    expect(page.locator("#status")).to_have_text("Verified")
    tab_to(page, "To the machine")
    press(page, "Enter")
    page.wait_for_url("**/machines/*")
    press(page, "r")
    page.wait_for_url("**/release")
    page.evaluate("document.activeElement.blur()")
    press(page, "g", "h")
    page.wait_for_url("**/portal/actions")


def test_skip_link_and_help_dialog(visitors: MakeVisitor) -> None:
    visitor = visitors("auditor")
    page = visitor.page
    visitor.go("/audit")
    press(page, "Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    press(page, "Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    press(page, "?")
    dialog = page.get_by_role("dialog", name="Keyboard shortcuts")
    expect(dialog).to_be_visible()
    dialog.get_by_label("Shortcuts are on").uncheck()
    press(page, "Escape")
    expect(dialog).to_be_hidden()
    press(page, "g", "a", "?")
    expect(dialog).to_be_hidden()
    visitor.go("/audit")
    page.get_by_role("button", name="Shortcuts").click()
    expect(dialog.get_by_label("Shortcuts are on")).not_to_be_checked()


def test_nothing_moves_for_those_who_want_it_still(scene: Scene, visitors: MakeVisitor) -> None:
    for motion, expected in (("reduce", "none"), ("no-preference", "turn")):
        visitor = visitors("reader", reduced_motion=motion)
        visitor.go(every_page(scene)["ordered"])
        moving = visitor.page.locator(".steps .now .icon").evaluate("e => getComputedStyle(e).animationName")
        assert moving == expected


def test_without_scripts_everything_can_still_be_done(scene: Scene, visitors: MakeVisitor) -> None:
    agent = scene.machine("plain-html")
    visitor = visitors("operator", java_script_enabled=False)
    page = visitor.page
    page.locator("#q").fill("plain-html")
    page.get_by_role("button", name="Filter").click()
    assert "q=plain-html" in page.url
    page.get_by_role("link", name="plain-html", exact=True).click()
    page.get_by_role("link", name="Isolate", exact=True).click()
    page.get_by_label("Comment").fill("no scripts here")
    page.get_by_role("button", name="Isolate now").click()
    scene.obey(agent)
    page.reload()
    expect(page.locator("#status")).to_have_text("Verified")
    page.get_by_role("button", name="Sign out").click()
    assert page.url.endswith("/sign-in")
