"""Run the catalogue: build, break, ask everybody, compare, write the table."""

from __future__ import annotations

import argparse
import concurrent.futures
import ctypes
import json
import multiprocessing
import os
import signal
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.faults import ours, proxies
from tests.faults.case import Case
from tests.faults.catalogue import CASES
from tests.faults.lab import FaultLab
from tests.faults.ours import Verdict
from tests.faults.peers import Peers, ask
from tests.faults.report import summary, table
from tests.faults.said import Said
from tests.lab import ground

_PR_SET_PDEATHSIG = 1
_BY_ID = {case.id: case for case in CASES}


@dataclass(frozen=True, slots=True)
class Result:
    """One case, judged. `broken` says why the case itself could not be run."""

    id: str
    verdict: Verdict | None
    peers: Peers | None
    broken: str = ""

    @property
    def case(self) -> Case:
        """What was broken."""
        return _BY_ID[self.id]


def run_case(name: str, with_peers: bool = True, keep: str = "") -> Result:
    """Build the lab, break it, ask everybody; a lab of one's own for each, so that nothing is left over."""
    case = _BY_ID[name]
    try:
        with FaultLab() as lab:
            case.make(lab)
            report, took_s, trouble = ours.check(lab, case)
            if keep:
                Path(keep, f"{name}.json").write_text(json.dumps(report, indent=1))
            # None of the peers reads PAC files, and a wildcard without a host is nothing one can ask about.
            asked = with_peers and not case.pattern_hit and case.way != "pac"
            peers = ask(lab, ours.place_of(case)) if asked else None
    except SystemExit:
        os._exit(143)  # the lab is gone; the pool would keep this process for the next case
    except Exception as error:  # noqa: BLE001 - one case that cannot be made must not end the run
        return Result(name, None, None, f"{type(error).__name__}: {error}"[:600])
    return Result(name, ours.judge(case, report, took_s, trouble), peers)


def run(names: list[str], jobs: int, with_peers: bool, keep: str) -> list[Result]:
    """Every case, some at a time; a line on standard error for each as it ends."""
    results: dict[str, Result] = {}
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(jobs, mp_context=context, initializer=_tidy_end) as pool:
        waiting = {pool.submit(run_case, name, with_peers, keep): name for name in names}
        for done in concurrent.futures.as_completed(waiting):
            result = done.result()
            results[result.id] = result
            sys.stderr.write(f"[{len(results)}/{len(names)}] {_line(result)}\n")
            sys.stderr.flush()
    return [results[name] for name in names]


def _tidy_end() -> None:
    """SIGTERM, or the end of the parent, leaves by an exception, so that the lab is removed."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _line(result: Result) -> str:
    case, verdict = result.case, result.verdict
    if verdict is None:
        return f"BROKEN {result.id}: {result.broken}"
    good = verdict.exact and verdict.right_outcome and not verdict.false_pass and not verdict.false_alarm
    text = f"{'ok    ' if good else 'WRONG '} {result.id}: wanted {case.code or 'nothing'}, "
    text += f"got {verdict.code or 'nothing'} ({verdict.outcome}) {verdict.took_s:.1f} s"
    if verdict.right_blocker is False:
        text += f"; blocked by {verdict.blocker or '?'}, not {'/'.join(sorted(case.blocked_by))}"
    for label, what in (("false pass", verdict.false_pass), ("false alarm", verdict.false_alarm)):
        text += f"; {label}: {', '.join(what)}" if what else ""
    return text + (f"; {verdict.trouble}" if verdict.trouble else "")


def to_data(results: list[Result]) -> list[dict[str, Any]]:
    """The results as JSON-able data."""
    return [asdict(result) for result in results]


def from_data(data: list[dict[str, Any]]) -> list[Result]:
    """The same back."""
    return [
        Result(
            each["id"],
            Verdict(**each["verdict"]) if each["verdict"] else None,
            Peers(**{key: Said(**value) for key, value in each["peers"].items()}) if each["peers"] else None,
            each["broken"],
        )
        for each in data
        if each["id"] in _BY_ID
    ]


def main(arguments: list[str]) -> int:
    """Exit 0 when every code is right and nothing passes falsely, 1 when not, 4 when no lab is possible."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--only", action="append", default=[], metavar="ID", help="cases whose id begins so")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--no-peers", action="store_true", help="isolator-check alone")
    parser.add_argument("--write", type=Path, metavar="FILE", help="the table in Markdown")
    parser.add_argument("--data", type=Path, metavar="FILE", help="results as JSON; kept ones are added to")
    parser.add_argument("--keep", default="", metavar="DIRECTORY", help="keep each report in here")
    parser.add_argument("--list", action="store_true", help="list the cases")
    options = parser.parse_args(arguments)
    names = [c.id for c in CASES if not options.only or any(c.id.startswith(o) for o in options.only)]
    if options.list:
        print("\n".join(f"{name}: {_BY_ID[name].title}" for name in names))
        return 0
    ground.widen_path()
    reason = ground.probe().code or (
        "programs missing: " + ", ".join(proxies.missing()) if proxies.missing() else ""
    )
    if reason or not names:
        sys.stderr.write(f"{reason or 'no case of that name'}\n")
        return 4 if reason else 2
    os.environ["PYTHONPATH"] = ground.python_path()
    started = time.monotonic()
    results = run(names, options.jobs, not options.no_peers, options.keep)
    took_s = time.monotonic() - started
    if options.data:
        options.data.write_text(json.dumps(to_data(results)))
    if options.write:
        options.write.write_text(table(results, took_s))
    print(summary(results, took_s))
    return 0 if all(_right(result) for result in results) else 1


def _right(result: Result) -> bool:
    verdict = result.verdict
    return verdict is not None and verdict.exact and not verdict.false_pass


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
