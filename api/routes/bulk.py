"""Bulk orders: explicit ids, dry run, cap."""

from __future__ import annotations

from fastapi import APIRouter

from api.deps import Operator, ServicesOf
from api.schemas.action import action_out
from api.schemas.own import BulkBody, BulkOne, BulkOut
from api.services import bulk, machines
from api.services.isolation import OrderRequest

router = APIRouter(tags=["bulk"])


@router.post("/bulk/isolate")
def isolate_many(body: BulkBody, actor: Operator, services: ServicesOf) -> BulkOut:
    """Order many machines at once. 200 says that each was judged; `results` says what became of each."""
    request = OrderRequest(
        machine="",
        comment=body.Comment,
        isolate=not body.Release,
        scope=body.IsolationType.lower(),
        title=body.Title,
        external_id=body.ExternalId,
        request_source="Bulk",
        overrides=frozenset(body.Overrides),
    )
    results = bulk.isolate_many(services, actor, body.MachineIds, request, dry_run=body.DryRun)
    names = machines.names(services, [each.machine_id for each in results])
    rows = [_one(each, names.get(each.machine_id, ""), dry_run=body.DryRun) for each in results]
    refused = sum(row.outcome == "refused" for row in rows)
    return BulkOut(dryRun=body.DryRun, ordered=len(rows) - refused, refused=refused, results=rows)


def _one(result: bulk.BulkResult, name: str, *, dry_run: bool) -> BulkOne:
    if result.problem is not None:
        return BulkOne(
            machineId=result.machine_id, outcome="refused", error=result.problem.envelope()["error"]
        )
    return BulkOne(
        machineId=result.machine_id,
        outcome="would_be_ordered" if dry_run else "ordered",
        action=action_out(result.action, name) if result.action else None,
    )
