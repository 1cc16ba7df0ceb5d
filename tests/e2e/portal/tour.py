"""Every page of the portal, by name: what tests of all pages walk."""

from __future__ import annotations

from sqlalchemy import select

from api.store.tables import Action, Preflight
from tests.e2e.portal.scene import Scene


def every_page(scene: Scene) -> dict[str, str]:
    """Name -> path below /portal, of a furnished controller."""
    isolated = scene.agents["laptop-sato"].machine_id
    with scene.world.services.database.read() as session:
        done = session.scalars(select(Action.id).where(Action.status == "Succeeded")).first()
        ordered = session.scalars(select(Action.id).where(Action.status == "Pending")).first()
        report = session.scalars(select(Preflight.id)).first()
    return {
        "machines": "/machines",
        "no machine": "/machines?q=nothing-is-called-so",
        "machine": f"/machines/{isolated}",
        "duplicate": f"/machines/{scene.agents['office-pc-05'].machine_id}",
        "isolate": f"/machines/{scene.agents['dc-01'].machine_id}/isolate",
        "release": f"/machines/{isolated}/release",
        "release file": f"/machines/{isolated}/forced-release",
        "actions": "/actions",
        "action": f"/actions/{done}",
        "ordered": f"/actions/{ordered}",
        "preflights": "/preflights",
        "preflight": f"/preflights/{report}",
        "audit": "/audit",
        "enrolment": "/enrolment",
        "clients": "/clients",
        "exclusions": "/exclusions",
        "groups": "/groups",
        "users": "/users",
        "account": "/account",
        "password": "/password",
        "missing": "/nowhere",
    }
