"""What Prometheus reads: counts of this process, and figures that the database holds.

Names of machines, clients and paths as sent are never labels: there is no end to them.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from api.services.context import Services
from api.store.tables import Action, AuditHead, Machine, Outgoing

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_HELD = "/agent/v1/checkin"
"""Its duration is how long nothing happened."""


class Metrics:
    """The counters of one application. Workers' counts are added up when several share their files."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "isolator_http_requests",
            "Answered requests.",
            ["method", "route", "status"],
            registry=registry,
        )
        self._latency = Histogram(
            "isolator_http_request_seconds",
            "Time to the end of the answer; held polls are left out.",
            ["method", "route"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self._refused = Counter(
            "isolator_refused_documents",
            "Signed documents that were not believed, by reason.",
            ["refusal"],
            registry=registry,
        )
        self._polls = Gauge(
            "isolator_polls_waiting",
            "Agents that wait for orders.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._delivered = Counter(
            "isolator_events_delivered", "Events a receiver took.", ["receiver"], registry=registry
        )
        self._failed = Counter(
            "isolator_event_failures", "Attempts that failed.", ["receiver"], registry=registry
        )
        self._dropped = Counter(
            "isolator_events_dropped", "Events given up on.", ["receiver"], registry=registry
        )

    def request(self, method: str, route: str, status: int, took_s: float) -> None:
        """One answered request; `route` is a template, never a path as sent."""
        method = method if method in _METHODS else "other"
        self._requests.labels(method, route, str(status)).inc()
        if route != _HELD:
            self._latency.labels(method, route).observe(took_s)

    def refused(self, refusal: str) -> None:
        """One signed document that was not believed."""
        self._refused.labels(refusal).inc()

    def waiting(self, polls: int) -> None:
        """How many polls wait in this process now."""
        self._polls.set(polls)

    def delivery(self, receiver: str, *, delivered: int = 0, failed: int = 0, dropped: int = 0) -> None:
        """What came of an attempt to deliver events."""
        for counter, number in (
            (self._delivered, delivered),
            (self._failed, failed),
            (self._dropped, dropped),
        ):
            if number:
                counter.labels(receiver).inc(number)

    def text(self, tenant_id: str | None = None) -> bytes:
        """The whole in Prometheus's text format; the database's figures of one tenant or (None) of all."""
        figures = CollectorRegistry()
        figures.register(_Figures(self._services, tenant_id))
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            return _of_all_workers() + generate_latest(figures)
        return generate_latest(self._registry) + generate_latest(figures)


class _Figures(Collector):
    def __init__(self, services: Services, tenant_id: str | None) -> None:
        self._services = services
        self._tenant_id = tenant_id

    def collect(self) -> Iterable[Metric]:
        """Read everything in one transaction."""
        build = GaugeMetricFamily("isolator_build_info", "The version that runs.", labels=["version"])
        build.add_metric([_version()], 1)
        yield build
        keys = GaugeMetricFamily("isolator_keys_expire_seconds", "When the order keys are over, Unix time.")
        keys.add_metric([], self._services.keys.expires_at.timestamp())
        yield keys
        with self._services.database.read() as session:
            yield from self._counted(session)
            yield from self._queues(session)
            rows = GaugeMetricFamily("isolator_audit_rows", "Rows of the audit log.")
            rows.add_metric([], session.scalar(self._of(AuditHead, func.sum(AuditHead.seq))) or 0)
            yield rows

    def _counted(self, session: Session) -> Iterator[Metric]:
        for name, text, labels, columns in (
            (
                "isolator_actions",
                "Orders by type and status.",
                ["type", "status"],
                (Action.type, Action.status),
            ),
            (
                "isolator_machines",
                "Enrolled machines by desired and observed state.",
                ["desired", "observed"],
                (Machine.desired, Machine.observed_state),
            ),
        ):
            family = GaugeMetricFamily(name, text, labels=labels)
            query = self._of(columns[0].class_, *columns, func.count()).group_by(*columns)
            if columns[0].class_ is Machine:
                query = query.where(Machine.unenrolled_at.is_(None))
            for *values, number in session.execute(query):
                family.add_metric([str(each) for each in values], number)
            yield family

    def _queues(self, session: Session) -> Iterator[Metric]:
        length = GaugeMetricFamily("isolator_outgoing_events", "Events that wait.", labels=["receiver"])
        age = GaugeMetricFamily(
            "isolator_outgoing_oldest_seconds", "Age of the oldest of them.", labels=["receiver"]
        )
        query = self._of(Outgoing, Outgoing.receiver, func.count(), func.min(Outgoing.created_at))
        now = self._services.clock.now()
        for receiver, number, oldest in session.execute(query.group_by(Outgoing.receiver)):
            length.add_metric([receiver], number)
            age.add_metric([receiver], max(0.0, (now - oldest).total_seconds()))
        yield from (length, age)

    def _of(self, table: Any, *columns: Any) -> Select[Any]:
        query = select(*columns).select_from(table)
        return query if self._tenant_id is None else query.where(table.tenant_id == self._tenant_id)


def _of_all_workers() -> bytes:
    shared = CollectorRegistry()
    multiprocess.MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
    for _ in range(5):
        # A worker that starts just now may have made a file and not yet written its head.
        with suppress(struct.error):
            return generate_latest(shared)
        time.sleep(0.05)
    return generate_latest(shared)


def _version() -> str:
    try:
        return version("host-isolator")
    except PackageNotFoundError:
        return "unknown"
