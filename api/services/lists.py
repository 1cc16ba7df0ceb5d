"""Endpoint lists: what is shipped, which version is in force where, and feeds for firewalls."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from sqlalchemy import select

from allowlists import files, merge
from allowlists.export import Feed, render_feed
from allowlists.model import EndpointList, ParseError
from api.core.roles import Actor
from api.problems import Problem, not_found
from api.services.context import Services
from api.services.machines import visible
from api.store.tables import Machine


@dataclass(frozen=True, slots=True)
class InForce:
    """One version of a list and how many isolated machines report it."""

    list_id: str
    version: str
    machines: int


def shipped() -> list[EndpointList]:
    """The lists that come with the controller, in their first edition."""
    return [files.load(name) for name in files.SHIPPED]


def in_force(services: Services, actor: Actor) -> list[InForce]:
    """Which list versions the isolated machines report, most machines first."""
    with services.database.read() as session:
        reports = session.scalars(
            select(Machine.observed).where(visible(actor), Machine.observed_state == "isolated")
        ).all()
    counted: Counter[tuple[str, str]] = Counter()
    for report in reports:
        lists = (report or {}).get("lists")
        for each in lists if isinstance(lists, list) else []:
            if isinstance(each, dict):
                counted[str(each.get("id", "")), str(each.get("version", ""))] += 1
    return [InForce(list_id, version, count) for (list_id, version), count in counted.most_common()]


def feed(name: str, feed_format: str, *, geo: str = "", os: str | None = None, profile: str = "all") -> str:
    """A shipped list as an external dynamic list. Problem for an unknown list, format or wish."""
    # Only shipped names: a path would read the controller's own files.
    if name.partition("@")[0] not in files.SHIPPED:
        raise not_found("List", name)
    try:
        wanted = files.load(name)
        geographies = [each for each in geo.split(",") if each]
        entries = merge.rows([wanted], geo=geographies, os=os, profile=profile, required_only=False)
        networks = merge.select_networks([wanted], geo=geographies, profile=profile)
        return render_feed(Feed(feed_format), entries, networks, head=f"{wanted.list_id} {wanted.version}")
    except ParseError as error:
        raise Problem("InvalidInput", str(error)) from None
    except ValueError:
        known = ", ".join(str(each) for each in Feed)
        raise Problem("InvalidInput", f"{feed_format!a} is no format; there are {known}") from None
