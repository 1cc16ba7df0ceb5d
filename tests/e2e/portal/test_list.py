"""The list of machines: filters live in the address, rows live by themselves; and what administrators keep."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import text

from tests.e2e.portal.conftest import MakeVisitor
from tests.e2e.portal.scene import Scene


def names(page: Page) -> list[str]:
    return page.locator("[data-row]").all_inner_texts()


def test_the_filters_are_in_the_address(visitors: MakeVisitor) -> None:
    visitor = visitors("reader")
    page = visitor.page
    page.get_by_label("Search").press_sequentially("web")
    expect(page.locator("[data-row]")).to_have_text(["web-01", "web-02"])
    expect(page.locator("#found")).to_have_text("2 of 2 machines")
    page.get_by_label("Observed").select_option("isolated")
    expect(page.locator("[data-row]")).to_have_text(["web-02"])
    assert "q=web" in page.url
    assert "observed=isolated" in page.url
    shared = visitors("operator")
    shared.page.goto(page.url)
    assert names(shared.page) == ["web-02"]
    assert shared.page.get_by_label("Search").input_value() == "web"
    assert shared.page.get_by_label("Observed").input_value() == "isolated"
    page.go_back()
    expect(page.locator("[data-row]")).to_have_text(["web-01", "web-02"])


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("attention=offline", ["office-pc-04"]),
        ("attention=duplicate", ["office-pc-05"]),
        ("attention=differs", ["office-pc-04"]),
        ("desired=isolated&group=none", ["laptop-sato"]),
        ("q=NEVER-ISOLATE", ["dc-01"]),
        ("q=%25", []),
        ("q=_eb-0", []),
        ("observed=isolated&order=seen", ["web-02", "laptop-sato"]),
    ],
)
def test_each_filter_finds_what_it_says(query: str, expected: list[str], visitors: MakeVisitor) -> None:
    visitor = visitors("reader")
    visitor.go(f"/machines?{query}")
    assert names(visitor.page) == expected


def test_a_row_changes_by_itself_and_the_focus_stays(scene: Scene, visitors: MakeVisitor) -> None:
    agent = scene.agents["office-pc-03"]
    visitor = visitors("operator")
    row = visitor.page.locator("tr", has_text="office-pc-03")
    row.get_by_role("link", name="office-pc-03", exact=True).focus()
    scene.isolate(agent, "INC-9")
    expect(row).to_contain_text("Watch the order", timeout=12_000)
    scene.obey(agent)
    expect(row.get_by_role("link", name=re.compile("^Release"))).to_be_visible(timeout=12_000)
    assert visitor.page.evaluate("document.activeElement.id") == f"row-{agent.machine_id}"


def test_a_controller_that_is_silent_is_said_to_be(visitors: MakeVisitor) -> None:
    visitor = visitors("reader")
    visitor.expected += ["Failed to load", "htmx:"]
    expect(visitor.page.locator("#stale")).to_be_hidden()
    visitor.context.set_offline(True)
    expect(visitor.page.locator("#stale")).to_be_visible(timeout=12_000)
    visitor.context.set_offline(False)
    expect(visitor.page.locator("#stale")).to_be_hidden(timeout=12_000)


def test_secrets_are_shown_once(scene: Scene, visitors: MakeVisitor) -> None:
    visitor = visitors("administrator")
    page = visitor.page
    visitor.go("/clients")
    page.get_by_label("Name").fill("Ticket system")
    page.get_by_label("Role").select_option("operator")
    page.get_by_role("button", name="Make the client").click()
    secret = page.locator("#made").inner_text()
    assert len(secret) > 40
    visitor.go("/clients")
    assert secret not in page.content()
    row = page.locator("tr", has_text="Ticket system")
    row.locator("summary").click()
    row.locator("button").click()
    expect(row).to_contain_text("Revoked")

    visitor.go("/enrolment")
    page.get_by_label("Number of machines").fill("3")
    page.get_by_role("button", name="Make the token").click()
    token = page.locator("#made").inner_text()
    visitor.go("/enrolment")
    assert token not in page.content()
    for stored in (secret, token):
        with scene.world.services.database.read() as session:
            dump = "".join(session.connection().connection.driver_connection.iterdump())  # type: ignore[union-attr]
        assert stored not in dump

    visitor.go("/users")
    page.get_by_label("Name").fill("temp")
    page.get_by_role("button", name="Make the account").click()
    assert page.locator("#made").inner_text()
    visitor.expected.append("409")
    page.get_by_label("Name").fill("temp")
    page.get_by_role("button", name="Make the account").click()
    expect(page.get_by_role("alert").filter(has_text="exists already")).to_be_visible()


def test_exclusions_groups_and_tags_are_kept(visitors: MakeVisitor) -> None:
    visitor = visitors("administrator")
    page = visitor.page
    visitor.go("/exclusions")
    page.get_by_label("Name", exact=True).fill("Printer")
    page.get_by_label("Address, network or name").fill("not an address!")
    visitor.expected.append("400")
    page.get_by_role("button", name="Add the exclusion").click()
    expect(page.get_by_role("alert").filter(has_text="not right")).to_be_visible()
    assert page.get_by_label("Name", exact=True).input_value() == "Printer", "nothing typed is lost"
    page.get_by_label("Address, network or name").fill("192.0.2.99")
    page.get_by_label("Port").fill("9100")
    page.get_by_role("button", name="Add the exclusion").click()
    expect(page.locator("tr", has_text="Printer")).to_contain_text("192.0.2.99/32")
    visitor.go("/groups")
    page.get_by_label("Name").fill("Branch Osaka")
    page.get_by_role("button", name="Add the group").click()
    visitor.go("/machines?q=web-01")
    page.get_by_role("link", name="web-01", exact=True).click()
    page.get_by_label("Group").select_option(label="Branch Osaka")
    page.get_by_label("Tags").fill("edge, osaka")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#live .tag", has_text="osaka")).to_be_visible()


def test_the_audit_chain_is_checked_and_a_break_is_named(scene: Scene, visitors: MakeVisitor) -> None:
    visitor = visitors("auditor")
    page = visitor.page
    visitor.go("/audit")
    page.get_by_role("button", name="Check the chain").click()
    expect(page.locator("#verdict")).to_contain_text("The chain is whole")
    page.get_by_label("Action").fill("machine.isolate")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("tbody tr").first).to_contain_text("Isolation ordered")
    expect(page.locator("tbody tr", has_text="Signed in")).to_have_count(0)
    # What only somebody with the database in hand can do: lift the trigger and alter a row.
    with scene.world.services.database.write() as session:
        for trigger in session.scalars(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).all():
            session.execute(text(f"DROP TRIGGER {trigger}"))
        session.execute(text("UPDATE audit SET content = replace(content, 'admin', 'adnim') WHERE seq = 3"))
    page.get_by_role("button", name="Check the chain").click()
    expect(page.locator("#verdict")).to_contain_text("The chain is broken at row 3")
