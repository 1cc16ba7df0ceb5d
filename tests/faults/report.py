"""The accuracy table: totals first, then every case with what each tool said."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from tests.faults.case import Case
from tests.faults.peers import Peers
from tests.faults.said import Said

if TYPE_CHECKING:
    from tests.faults.run import Result

TOOLS: tuple[tuple[str, Callable[[Peers], Said]], ...] = (
    ("curl", lambda peers: peers.curl),
    ("blackbox", lambda peers: peers.blackbox),
    ("nmap", lambda peers: peers.nmap),
)


_INTRODUCTION = """\
Written by `make accuracy`. Every fault is made for real in network namespaces: device, first firewall,
second firewall, internet, resolvers and a proxy host (`tests/faults`). isolator-check runs as nobody in
the device on about six rows; curl, blackbox_exporter and nmap are asked about the same endpoint in the
same lab, with the same proxy, system store and expected statuses.

*Exact code*: the failure of the row that was hit is the code that was made (or one that names the same
cause as well: `also` in the catalogue). *Right layer*: dns, tcp (with ip and net), proxy, tls, http (with
rev), clock. *False pass*: an endpoint that cannot be used is reported as usable. *False alarm*: a healthy
network is not. How the peers' words are read is written in `tests/faults/peers.py`, in their favour: a
bare timeout counts as the stage that curl's timers show. They are not asked where a PAC file is the way:
none of them reads one. Faults that leave the endpoint usable (warnings) are in the first layer column only.
"""


def summary(results: Sequence[Result], took_s: float) -> str:
    """The totals, as a Markdown table and a sentence."""
    faults = [result for result in results if result.case.code is not None and result.verdict]
    healthy = [result for result in results if result.case.code is None and result.verdict]
    blocking = [result for result in faults if result.case.blocking]
    broken = [result.id for result in results if result.verdict is None]
    codes = len({result.case.code for result in faults})
    lines = [
        f"{len(faults)} faults of {codes} codes, {len(healthy)} healthy networks, {took_s:.0f} s.",
        "",
        "| tool | exact code | right layer: all faults | blocking faults | false passes | false alarms |",
        "|-|-|-|-|-|-|",
        _ours(faults, blocking, healthy),
    ]
    lines += [_peer(name, pick, faults, blocking, healthy) for name, pick in TOOLS]
    judged = [r.verdict.right_blocker for r in faults if r.verdict and r.verdict.right_blocker is not None]
    if judged:
        lines += ["", f"`blocked_by` names the right address in {sum(judged)} of {len(judged)} cases."]
    if broken:
        lines += ["", f"Not run: {', '.join(broken)}."]
    return "\n".join(lines)


def _ours(faults: Sequence[Result], blocking: Sequence[Result], healthy: Sequence[Result]) -> str:
    exact = sum(bool(r.verdict and r.verdict.exact) for r in faults)
    layer = sum(bool(r.verdict and r.verdict.right_layer) for r in faults)
    severe = sum(bool(r.verdict and r.verdict.right_layer) for r in blocking)
    passes = sum(bool(r.verdict and r.verdict.false_pass) for r in blocking)
    alarms = sum(bool(r.verdict and r.verdict.false_alarm) for r in healthy)
    return (
        f"| isolator-check | {_share(exact, len(faults))} | {_share(layer, len(faults))} "
        f"| {_share(severe, len(blocking))} | {passes} of {len(blocking)} | {alarms} of {len(healthy)} |"
    )


def _peer(
    name: str,
    pick: Callable[[Peers], Said],
    faults: Sequence[Result],
    blocking: Sequence[Result],
    healthy: Sequence[Result],
) -> str:
    def said(results: Iterable[Result]) -> list[tuple[Case, Said]]:
        return [(r.case, pick(r.peers)) for r in results if r.peers]

    on_faults, on_blocking, on_healthy = said(faults), said(blocking), said(healthy)
    layer = sum(answer.layer in case.right_layers for case, answer in on_faults)
    severe = sum(answer.layer in case.right_layers for case, answer in on_blocking)
    passes = sum(answer.passes for _, answer in on_blocking)
    alarms = sum(not answer.passes for _, answer in on_healthy)
    return (
        f"| {name} | - | {_share(layer, len(on_faults))} | {_share(severe, len(on_blocking))} "
        f"| {passes} of {len(on_blocking)} "
        f"| {alarms} of {len(on_healthy)} |"
    )


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole} ({100 * part / whole:.1f} %)" if whole else "-"


def table(results: Sequence[Result], took_s: float) -> str:
    """The whole document."""
    lines = [
        "# Accuracy of the preflight",
        "",
        *_INTRODUCTION.splitlines(),
        "",
        summary(results, took_s),
        "",
        "## Cases",
        "",
        "`+` right, `~` right layer but another code, `-` wrong; PASS is a false pass.",
        "",
        "| case | what is broken | way | made | isolator-check | curl | blackbox | nmap |",
        "|-|-|-|-|-|-|-|-|",
    ]
    lines += [_row(result) for result in results]
    return "\n".join(lines) + "\n"


def _row(result: Result) -> str:
    case, verdict, peers = result.case, result.verdict, result.peers
    if verdict is None:
        ours = f"not run: {result.broken[:60]}"
    else:
        mark = "+" if verdict.exact else "~" if verdict.right_layer else "-"
        flags = " PASS" if verdict.false_pass else ""
        flags += " ALARM" if verdict.false_alarm else ""
        ours = f"{mark} {verdict.code or verdict.outcome}{flags}"
    cells = [case.id, case.title, case.way, str(case.code or "healthy"), ours]
    for _, pick in TOOLS:
        cells.append(_cell(case, pick(peers)) if peers else "")
    return "| " + " | ".join(cell.replace("|", "/").replace("\n", " ") for cell in cells) + " |"


def _cell(case: Case, said: Said) -> str:
    if case.code is None:
        return "+" if said.passes else f"- {said.layer}"
    if said.passes:
        return "PASS" if case.blocking else "passes"
    return f"{'+' if said.layer in case.right_layers else '-'} {said.layer or 'no layer'}"
