"""Many machines in one order: by explicit ids only, with a dry run and a cap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.core.action_state import ACTIVE
from api.core.roles import Actor, Permission
from api.problems import Problem, not_found
from api.services import audit, isolation, safeguards
from api.services.context import Services
from api.services.isolation import Judged, OrderRequest
from api.services.machines import visible
from api.store.tables import Action, Machine

MOST = 1000
"""Machines in one call; a playbook that wants more says so twice."""

_ID_DIGITS = 40


@dataclass(frozen=True, slots=True)
class BulkResult:
    """What became of one machine: an action or the problem that stopped it; a dry run gives no action."""

    machine_id: str
    action: Action | None = None
    problem: Problem | None = None


def isolate_many(
    services: Services, actor: Actor, ids: Sequence[str], request: OrderRequest, *, dry_run: bool
) -> list[BulkResult]:
    """Order the same for each machine, in one transaction; one that is refused does not stop the others.

    The cap on isolations per hour is judged for the whole call first: it passes or is refused as one.
    `dry_run` judges everything and orders nothing. Problem for no ids, too many, or what is no machine id.
    """
    wanted = _checked(ids)
    results: list[BulkResult] = []
    try:
        with services.database.write() as session:
            results = _all(session, services, actor, wanted, request)
            if dry_run:
                raise _Undo  # the judging was real, the orders are not
            _audit(session, services, actor, "isolate" if request.isolate else "release", results, request)
    except _Undo:
        with services.database.write() as session:
            _audit(session, services, actor, "dry_run", results, request)
        return [BulkResult(each.machine_id, None, each.problem) for each in results]
    services.wake.machines([each.machine_id for each in results if each.action])
    return results


class _Undo(Exception):  # noqa: N818 - no error: it ends a transaction that must not stay
    pass


def _audit(
    session: Session,
    services: Services,
    actor: Actor,
    word: str,
    results: Sequence[BulkResult],
    request: OrderRequest,
) -> None:
    refused = {each.machine_id: each.problem.code for each in results if each.problem}
    detail = {
        "machines": [each.machine_id for each in results],
        "comment": request.comment,
        "refused": refused,
    }
    audit.record(session, services, actor, f"bulk.{word}", "", detail)


def _all(
    session: Session, services: Services, actor: Actor, ids: Sequence[str], request: OrderRequest
) -> list[BulkResult]:
    """Each is judged before any is ordered: a refusal has nothing to undo."""
    machines, actions = _locked(session, actor, ids)
    counted = None
    if request.isolate:
        audit.hold(session, actor.tenant_id)
        counted = safeguards.isolations(session, services, actor)
        _judge_cap(counted, actor, len(ids), request)
    judged: dict[str, Judged] = {}
    refused: dict[str, Problem] = {}
    for each in ids:
        try:
            isolation.check(actor, request)
            if each not in machines:
                raise not_found("Machine", each)
            judged[each] = isolation.judge(
                services, actor, machines[each], actions.get(each), request, counted
            )
        except Problem as problem:
            refused[each] = problem
        else:
            if counted is not None:
                counted.recent += 1
    placed = isolation.carry_out(session, services, actor, list(judged.values()), request)
    ordered = dict(zip(judged, placed, strict=True))
    return [
        BulkResult(each, ordered[each].action if each in ordered else None, refused.get(each)) for each in ids
    ]


def _locked(
    session: Session, actor: Actor, ids: Sequence[str]
) -> tuple[dict[str, Machine], dict[str, Action]]:
    """The machines that are the actor's business, and their actions under way.

    Their rows are held, in one order for all who do: nobody waits for each other.
    """
    mine = select(Machine).where(visible(actor), Machine.id.in_(ids)).order_by(Machine.id).with_for_update()
    machines = {each.id: each for each in session.scalars(mine)}
    active = select(Action).where(
        Action.machine_id.in_(machines), Action.status.in_([each.value for each in ACTIVE])
    )
    return machines, {each.machine_id: each for each in session.scalars(active)}


def _judge_cap(counted: safeguards.Isolations, actor: Actor, count: int, request: OrderRequest) -> None:
    cap = counted.beyond(more=count)
    if cap is None:
        return
    if cap.override not in request.overrides:
        raise Problem(
            "Forbidden",
            f"{cap.sentence}, and {count} more are asked for; none was ordered",
            extra={"override": cap.override},
        )
    if not actor.may(Permission.ADMINISTER):
        raise Problem("Forbidden", f"{cap.sentence}; only an administrator may override that")


def _checked(ids: Sequence[str]) -> list[str]:
    if not ids:
        raise Problem("MissingRequiredParameter", "MachineIds names no machine")
    if len(ids) > MOST:
        raise Problem("InvalidInput", f"MachineIds has {len(ids)} entries, at most {MOST} are taken")
    for each in ids:
        if len(each) != _ID_DIGITS or set(each) - set("0123456789abcdef"):
            raise Problem("InvalidInput", f"{each[:60]!a} is no machine id; bulk orders take ids, not names")
    return list(dict.fromkeys(ids))
