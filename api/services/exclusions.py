"""Exclusions: what Selective isolation leaves open beside the lists; frozen into each order."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from allowlists.model import ParseError
from api.core.roles import Actor
from api.problems import Problem, not_found
from api.services import audit
from api.services.context import Services
from api.services.groups import find_group
from api.store.tables import Exclusion
from isolator.model import config as rules
from isolator.model.flow import Transport
from isolator.model.policy import Direction
from isolator.model.policy import Exclusion as HostExclusion

_KEYS = frozenset({"direction", "remote", "port", "protocol", "process"})


def list_exclusions(services: Services, actor: Actor) -> list[Exclusion]:
    """The tenant's exclusions by name, as far as they hold for groups of the actor's."""
    with services.database.read() as session:
        query = select(Exclusion).where(Exclusion.tenant_id == actor.tenant_id).order_by(Exclusion.name)
        found = session.scalars(query)
        return [each for each in found if each.group_id is None or actor.reaches(each.group_id)]


def create_exclusion(
    services: Services, actor: Actor, name: str, spec: Mapping[str, Any], group_id: int | None = None
) -> Exclusion:
    """A new exclusion. Problem when the agent would refuse it, its name is taken, or the group is unknown.

    Orders that were made before do not change.
    """
    cleaned = check_spec(name, spec)
    with services.database.write() as session:
        _check_reach(session, actor, group_id)
        same = select(Exclusion).where(Exclusion.tenant_id == actor.tenant_id, Exclusion.name == name)
        if session.scalars(same).first() is not None:
            raise Problem("InvalidInput", f"there is an exclusion {name!a} already")
        exclusion = Exclusion(
            id=str(uuid.uuid4()),
            tenant_id=actor.tenant_id,
            name=name,
            spec=cleaned,
            group_id=group_id,
            created_at=services.clock.now(),
            created_by=actor.name,
        )
        session.add(exclusion)
        audit.record(
            session, services, actor, "exclusion.create", exclusion.id, {"name": name, "spec": cleaned}
        )
    return exclusion


def delete_exclusion(services: Services, actor: Actor, exclusion_id: str) -> None:
    """Take an exclusion away. 404 when there is none; machines isolated with it keep it until released."""
    with services.database.write() as session:
        exclusion = session.get(Exclusion, exclusion_id.lower())
        if exclusion is None or exclusion.tenant_id != actor.tenant_id:
            raise not_found("Exclusion", exclusion_id)
        _check_reach(session, actor, exclusion.group_id)
        detail = {"name": exclusion.name, "spec": exclusion.spec}
        session.delete(exclusion)
        audit.record(session, services, actor, "exclusion.delete", exclusion.id, detail)


def _check_reach(session: Session, actor: Actor, group_id: int | None) -> None:
    if group_id is not None:
        find_group(session, actor, group_id)
    elif actor.groups is not None:
        raise Problem("Forbidden", "you are limited to groups; this exclusion holds for every group")


def check_spec(name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """The spec with defaults filled in, judged by the agent's own rules (agent.yaml's `exclusions`)."""
    unknown = sorted(set(spec) - _KEYS)
    if unknown:
        raise Problem("InvalidInput", f"{unknown[0]!a} is no part of an exclusion")
    try:
        remote, pattern = rules.parse_remote(str(spec.get("remote") or ""))
        port = spec.get("port")
        checked = rules.check_exclusion(
            HostExclusion(
                name=rules.parse_name(name),
                direction=Direction(spec.get("direction")),
                transport=Transport(spec.get("protocol") or "tcp"),
                port=None if port is None else rules.parse_port(int(port)),
                remote=remote,
                pattern=pattern,
                uid=_uid(spec.get("process")),
            )
        )
    except ParseError as error:
        raise Problem("InvalidInput", error.reason) from None
    except (ValueError, TypeError):
        raise Problem("InvalidInput", "direction is in or out, protocol tcp or udp, port a number") from None
    return {
        "direction": checked.direction.value,
        "remote": str(remote) if remote is not None else pattern,
        "port": checked.port,
        "protocol": checked.transport.value,
        "process": None if checked.uid is None else {"uid": checked.uid},
    }


def _uid(process: object) -> int | None:
    if process is None:
        return None
    if not isinstance(process, Mapping) or set(process) != {"uid"} or type(process["uid"]) is not int:
        raise Problem("InvalidInput", "process is limited by a number: {'uid': 1000}")
    return rules.parse_uid(process["uid"])
