"""isolator-check on a fault, as nobody in the device, and whether its report is right."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connectivity_check.failure import Failure
from tests.faults import pki, world
from tests.faults.case import Case, bucket
from tests.faults.lab import UNPRIVILEGED, FaultLab
from tests.faults.world import Place

TIMEOUT_S, DEADLINE_S = 4, 45


@dataclass(frozen=True, slots=True)
class Verdict:
    """How good the report is on one case."""

    code: str
    """The code of the judged row, or of the finding that counts."""
    layer: str
    exact: bool
    right_layer: bool
    outcome: str
    right_outcome: bool
    blocker: str
    right_blocker: bool | None
    """None: not judged."""
    false_pass: tuple[str, ...]
    """Rows hit by a blocking fault and reported reachable."""
    false_alarm: tuple[str, ...]
    """Rows that are not hit and are reported blocked."""
    took_s: float
    trouble: str = ""
    """Why there is no report, or what else is odd."""


def expectations(case: Case) -> str:
    """What a right answer is in the lab, in the format of `--expectations`."""
    issuers = [pki.PUBLIC_ISSUER]
    api: dict[str, Any] = {"kind": "api", "issuers": issuers, "source": "fault lab"}
    gateways = [world.GW1.host, world.GW2.host, world.GW3.host]
    rules: list[dict[str, Any]] = [
        {**api, "hosts": gateways, "path": "/test", "statuses": [200], "pinned": True, "body_contains": "OK"},
        {**api, "hosts": [world.EDR.host, world.EDR.pattern], "path": "/edr", "pinned": True},
        {**api, "hosts": [world.EVENTS.host], "path": "/ping", "statuses": [200], "pinned": True},
        {
            **api,
            "hosts": [world.BLOB.host],
            "statuses": [400],
            "pinned": False,
            "upload": True,
            "private_ok": False,
        },
        {**api, "hosts": [world.SETTINGS.host], "path": "/qos", "statuses": [200]},
        {**api, "hosts": [world.LOGIN.host], "html_allowed": True, "pinned": False},
        {
            **api,
            "hosts": [world.UPDATE.host],
            "path": "/update.bin",
            "h2": True,
            "ranges": True,
            "pinned": False,
        },
        {"kind": "crl", "hosts": [world.CRL.host], "ports": [80], "path": world.CRL.path},
        {"kind": "ocsp", "hosts": [world.OCSP.host], "ports": [80], "path": world.OCSP.path},
        {"kind": "opaque", "hosts": ["*"], "ports": [world.RELAY.port]},
        {"kind": "ctl", "hosts": [world.CTL.host], "ports": [80], "path": world.CTL.path},
    ]
    return json.dumps({"issuers": {}, "rules": rules})


def check(lab: FaultLab, case: Case) -> tuple[Mapping[str, Any], float, str]:
    """Run it; gives the report (empty when there is none), seconds, and what went wrong."""
    rows = lab.write("rows.yaml", world.list_text(case.all_places, case.patterns))
    expected = lab.write("expectations.yaml", expectations(case))
    way = [] if "--pac" in lab.arguments else ["--proxy", lab.proxy_url] if lab.proxy_url else ["--direct"]
    argv = [
        sys.executable, "-m", "connectivity_check", "--list", str(rows), "--expectations", str(expected),
        "--public-ca", str(lab.public_store), "--timeout", str(TIMEOUT_S), "--deadline", str(DEADLINE_S),
        "--format", "json", *way, *lab.arguments,
    ]  # fmt: skip
    start = time.monotonic()
    try:
        done = lab.device.run([*UNPRIVILEGED, *argv], timeout=DEADLINE_S + 30, env=lab.checker_environment())
    except subprocess.TimeoutExpired:
        return {}, time.monotonic() - start, "did not end"
    took = time.monotonic() - start
    try:
        report = json.loads(done.stdout)
    except ValueError:
        return {}, took, f"exit {done.returncode}: {(done.stderr or done.stdout).strip()[-1500:]}"
    traceback = "Traceback" in done.stderr
    return report, took, done.stderr.strip()[-400:] if traceback else ""


def judge(case: Case, report: Mapping[str, Any], took_s: float, trouble: str) -> Verdict:
    """Compare a report with what was broken."""
    rows = report.get("rows", [])
    if case.code is None:
        return _judge_healthy(rows, took_s, trouble)
    hit = [row for row in rows if _is_hit(case, row)]
    unhit = [row for row in rows if row not in hit and row.get("target")]
    false_alarm = tuple(_name(row) for row in unhit if row["outcome"] in ("blocked", "unexplained"))
    if case.anywhere:
        false_alarm = ()
    false_pass = tuple(_name(row) for row in hit if row["outcome"] == "reachable") if case.blocking else ()
    judged = _judged(case, hit)
    if judged is None:
        trouble = trouble or "no row to judge"
    code = _code(case, report, judged)
    layer = bucket(Failure(code)) if code else ""
    outcome = str(judged["outcome"]) if judged else ""
    exact = judged is not None and code in {str(each) for each in (case.code, *case.also)}
    blocker = _blocker(judged)
    return Verdict(
        code=code, layer=layer, exact=exact,
        right_layer=exact or (bool(layer) and layer in case.right_layers),
        outcome=outcome,
        right_outcome=outcome in case.outcomes,
        blocker=blocker,
        right_blocker=blocker in case.blocked_by if case.blocked_by else None,
        false_pass=false_pass, false_alarm=false_alarm, took_s=took_s, trouble=trouble,
    )  # fmt: skip


def _judge_healthy(rows: Sequence[Mapping[str, Any]], took_s: float, trouble: str) -> Verdict:
    """Every row must be reachable; a warning on a healthy network is a false alarm as well."""
    bad = [row for row in rows if row["outcome"] != "reachable"]
    code = str(bad[0].get("failure") or "") if bad else ""
    good = bool(rows) and not bad
    return Verdict(
        code=code, layer=bucket(Failure(code)) if code else "", exact=good, right_layer=good,
        outcome=str(bad[0]["outcome"]) if bad else "reachable" if rows else "", right_outcome=good,
        blocker="", right_blocker=None, false_pass=(), false_alarm=tuple(map(_name, bad)), took_s=took_s,
        trouble=trouble or ("" if rows else "no row to judge"),
    )  # fmt: skip


def _is_hit(case: Case, row: Mapping[str, Any]) -> bool:
    if case.pattern_hit:
        return bool(row["pattern"] == case.pattern_hit)
    return (row.get("target"), row.get("port")) in case.hit_hosts


def _judged(case: Case, hit: list[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The row of the first place that is hit."""
    if case.pattern_hit or not hit:
        return hit[0] if hit else None
    first = case.hits[0]
    return next((row for row in hit if (row["target"], row["port"]) == (first.host, first.port)), hit[0])


def _code(case: Case, report: Mapping[str, Any], judged: Mapping[str, Any] | None) -> str:
    """The judged row's code; for a matter of the whole run or a remark, the finding that names it."""
    own = str(judged.get("failure") or "") if judged else ""
    right = {str(each) for each in {case.code, *case.also} if each}
    if own in right or not right:
        return own
    findings: list[Mapping[str, Any]] = list(judged.get("others", [])) if judged and not case.blocking else []
    if case.anywhere:
        findings += report.get("findings", [])
        for row in report.get("rows", []):
            findings += [{"failure": row.get("failure")}, *row.get("others", [])]
    return next((str(each["failure"]) for each in findings if each.get("failure") in right), own)


def _blocker(row: Mapping[str, Any] | None) -> str:
    blocker = (row or {}).get("blocked_by") or {}
    return str(blocker.get("address") or "")


def _name(row: Mapping[str, Any]) -> str:
    return f"{row.get('target') or row['pattern']}:{row['port']} ({row.get('failure') or row['outcome']})"


def place_of(case: Case) -> Place:
    """The endpoint the peers are asked about."""
    return case.hits[0] if case.hits else world.GW1
