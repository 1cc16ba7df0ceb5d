"""Isolating and releasing in the browser, watched from ordered over applied to verified."""

from __future__ import annotations

import json

from playwright.sync_api import Page, expect
from sqlalchemy import select

from api.store.tables import Action, AuditRow
from tests.e2e.portal.conftest import MakeVisitor
from tests.e2e.portal.scene import Scene


def look_of(page: Page, step: str) -> str:
    """How a step is shown now."""
    return page.locator(f"[data-step={step}]").get_attribute("data-look") or ""


def expect_look(page: Page, step: str, look: str) -> None:
    expect(page.locator(f"[data-step={step}]")).to_have_attribute("data-look", look)


def latest(scene: Scene, name: str) -> Action:
    """The machine's newest action."""
    with scene.world.services.database.read() as session:
        query = select(Action).where(Action.machine_id == scene.agents[name].machine_id)
        return session.scalars(query.order_by(Action.generation.desc())).first()  # type: ignore[return-value]


def audited(scene: Scene, word: str) -> list[dict[str, object]]:
    with scene.world.services.database.read() as session:
        rows = [json.loads(each) for each in session.scalars(select(AuditRow.content))]
    return [each for each in rows if each["action"] == word]


def test_isolate_watch_it_verify_and_release(scene: Scene, visitors: MakeVisitor) -> None:
    agent = scene.agents["office-pc-01"]
    visitor = visitors("operator")
    page = visitor.page
    page.get_by_role("link", name="office-pc-01", exact=True).click()
    page.get_by_role("link", name="Isolate", exact=True).click()
    expect(page.get_by_text("All the rest is shut")).to_be_visible()
    page.get_by_label("Comment").fill("INC-1: beacon")
    page.get_by_role("button", name="Isolate now").click()
    page.wait_for_url("**/portal/actions/*")
    expect_look(page, "ordered", "done")
    expect_look(page, "applied", "now")
    expect_look(page, "verified", "waiting")
    expect(page.get_by_text("Signature is good")).to_be_visible()

    scene.world.deliver(agent)
    scene.report(agent, verified=False)
    expect_look(page, "applied", "done")
    expect_look(page, "verified", "now")
    expect(page.locator("#announcement")).to_contain_text("Applied")

    scene.report(agent)
    expect_look(page, "verified", "done")
    expect(page.locator("#status")).to_have_text("Verified")
    expect(page.locator("#announcement")).to_contain_text("Verified")
    assert page.locator("#live").get_attribute("hx-get") is None, "nothing is asked for after the end"
    action = latest(scene, "office-pc-01")
    assert (action.status, action.comment, action.requestor) == ("Succeeded", "INC-1: beacon", "operator")
    assert action.request_source == "Portal"

    page.get_by_role("link", name="To the machine").click()
    expect(page.get_by_text("streamlined")).to_be_visible()
    expect(page.get_by_text("A destination off the lists could not be reached")).to_be_visible()
    page.get_by_role("link", name="Release", exact=True).click()
    expect(page.get_by_text("INC-1: beacon")).to_be_visible()
    page.get_by_label("Comment").fill("cleaned")
    page.get_by_role("button", name="Release now").click()
    page.wait_for_url("**/portal/actions/*")
    scene.obey(agent)
    expect_look(page, "verified", "done")
    assert latest(scene, "office-pc-01").type == "Unisolate"


def test_a_failure_is_told_with_the_agents_own_words(scene: Scene, visitors: MakeVisitor) -> None:
    agent = scene.agents["office-pc-02"]
    visitor = visitors("operator")
    page = visitor.page
    visitor.go(f"/machines/{agent.machine_id}/isolate")
    page.get_by_label("Comment").fill("INC-2")
    page.get_by_role("button", name="Isolate now").click()
    page.wait_for_url("**/portal/actions/*")
    scene.world.deliver(agent)
    agent.state, agent.scope = "connected", None
    scene.report(agent, error={"code": "apply_failed", "sentence": "the kernel refused the ruleset"})
    expect(page.locator("#status")).to_have_text("Failed")
    expect_look(page, "applied", "failed")
    expect_look(page, "verified", "off")
    expect(page.get_by_text("the kernel refused the ruleset", exact=True)).to_be_visible()


def test_without_a_comment_nothing_is_ordered(scene: Scene, visitors: MakeVisitor) -> None:
    agent = scene.agents["office-pc-03"]
    visitor = visitors("operator")
    page = visitor.page
    visitor.go(f"/machines/{agent.machine_id}/isolate")
    page.get_by_role("button", name="Isolate now").click()
    assert page.url.endswith("/isolate"), "the browser itself asks for the comment"
    page.locator("#comment").evaluate("each => each.required = false")
    page.locator("#comment").fill("   ")
    visitor.expected.append("400")
    page.get_by_role("button", name="Isolate now").click()
    expect(page.get_by_role("alert").filter(has_text="Something is missing")).to_be_visible()
    assert scene.world.machine(agent).generation == 0


def test_selective_shows_the_exclusions_it_freezes(scene: Scene, visitors: MakeVisitor) -> None:
    agent = scene.agents["db-01"]
    visitor = visitors("operator")
    page = visitor.page
    visitor.go(f"/machines/{agent.machine_id}/isolate")
    expect(page.get_by_text("Backup server")).to_be_hidden()
    page.locator("[name=scope][value=selective]").check()
    expect(page.get_by_text("Backup server")).to_be_visible()
    expect(page.get_by_text("Outlook and Teams (collaboration list)")).to_be_visible()
    expect(page.get_by_text("192.0.2.40/32")).to_be_visible()
    page.get_by_label("Comment").fill("INC-3")
    page.get_by_role("button", name="Isolate now").click()
    page.wait_for_url("**/portal/actions/*")
    expect(page.locator("pre").first).to_contain_text('"name": "Backup server"')
    expect(page.locator("pre").first).to_contain_text('"scope": "selective"')
    # The agent has not got it yet: it can be withdrawn.
    page.get_by_text("Cancel the order").click()
    page.locator("#cancel-comment").fill("wrong machine")
    page.get_by_role("button", name="Cancel it now").click()
    expect(page.locator("#status")).to_have_text("Cancelled")
    assert latest(scene, "db-01").cancel_comment == "wrong machine"


def test_lists_can_be_chosen_for_one_order(scene: Scene, visitors: MakeVisitor) -> None:
    agent = scene.agents["web-01"]
    visitor = visitors("operator")
    page = visitor.page
    visitor.go(f"/machines/{agent.machine_id}/isolate")
    page.locator("summary", has_text="Choose lists for this order").click()
    page.locator("input[name=lists][value=standard]").check()
    page.get_by_label("Comment").fill("INC-4: keep the call going")
    page.get_by_role("button", name="Isolate now").click()
    page.wait_for_url("**/portal/actions/*")
    assert scene.world.deliver(agent)["lists"] == ["standard"]


def test_a_safeguard_stops_operators_and_asks_administrators(scene: Scene, visitors: MakeVisitor) -> None:
    agent = scene.agents["dc-01"]
    operator = visitors("operator")
    operator.go(f"/machines/{agent.machine_id}/isolate")
    expect(operator.page.get_by_text("Only an administrator can override this.")).to_be_visible()
    expect(operator.page.get_by_role("button", name="Isolate now")).to_be_disabled()
    # Who takes the lock off the button in the browser meets the same rule on the server.
    operator.page.get_by_role("button", name="Isolate now").evaluate("each => each.disabled = false")
    operator.page.get_by_label("Comment").fill("anyway")
    operator.page.locator("form.confirm").evaluate(
        """form => { const field = document.createElement("input");
             field.type = "hidden"; field.name = "overrides"; field.value = "tag"; form.append(field); }"""
    )
    operator.expected.append("403")
    operator.page.get_by_role("button", name="Isolate now").click()
    expect(operator.page.get_by_role("alert").filter(has_text="Not allowed")).to_be_visible()
    assert scene.world.machine(agent).generation == 0

    admin = visitors("administrator")
    admin.go(f"/machines/{agent.machine_id}/isolate")
    admin.page.get_by_label("Comment").fill("domain controller beacons")
    admin.expected.append("403")
    admin.page.get_by_role("button", name="Isolate now").click()
    expect(admin.page.get_by_role("alert").filter(has_text="Not allowed")).to_be_visible()
    assert admin.page.get_by_label("Comment").input_value() == "domain controller beacons", "nothing is lost"
    admin.page.get_by_label("Isolate all the same").check()
    admin.page.get_by_role("button", name="Isolate now").click()
    admin.page.wait_for_url("**/portal/actions/*")
    [row] = [each for each in audited(scene, "machine.isolate") if each["target"] == agent.machine_id]
    assert row["detail"]["overrides"] == ["tag"]  # type: ignore[index]


def test_a_page_from_before_another_order_orders_nothing(scene: Scene, visitors: MakeVisitor) -> None:
    agent = scene.machine("raced")
    visitor = visitors("operator")
    visitor.go(f"/machines/{agent.machine_id}/isolate")
    scene.isolate(agent, "somebody was quicker")
    visitor.page.get_by_label("Comment").fill("late")
    visitor.expected.append("409")
    visitor.page.get_by_role("button", name="Isolate now").click()
    expect(visitor.page.get_by_role("alert").filter(has_text="another order meanwhile")).to_be_visible()
    visitor.expected.append("400")
    visitor.page.get_by_role("button", name="Isolate now").click()
    expect(visitor.page.get_by_role("alert").filter(has_text="Action is already in progress")).to_be_visible()
    assert latest(scene, "raced").comment == "somebody was quicker"
