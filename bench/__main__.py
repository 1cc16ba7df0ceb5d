"""`python -m bench`: measure, show a table, write results.json."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.figure import Figure
from bench.report import show, write
from tests.lab import ground

BENCHES = {
    "names": ("bench.name_match", False),
    "commit": ("bench.commit", True),
    "orders": ("bench.orders", True),
    "verified": ("bench.order_to_verified", True),
    "dns": ("bench.dns_gate", True),
    "syn": ("bench.first_syn", True),
    "forged": ("bench.forged_answers", True),
    "preflight": ("bench.preflight", True),
    "wire": ("bench.wire", True),
    "throughput": ("bench.throughput", True),
    "fleet": ("bench.fleet", False),
}
"""Name -> module, and whether it needs namespaces. In the order they run: the short ones first."""

RESULTS = Path(__file__).with_name("results.json")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; 0 unless `--strict` and a figure misses its bound, 4 without namespaces."""
    args = _parser().parse_args(arguments)
    wanted = args.only or list(BENCHES)
    found = ground.probe()
    if any(BENCHES[name][1] for name in wanted) and not found.possible:
        print(
            f"bench: {found.code}: network namespaces are not possible here: {found.detail}", file=sys.stderr
        )
        return 4
    started = time.monotonic()
    figures: list[Figure] = []
    for name in wanted:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        figures += importlib.import_module(BENCHES[name][0]).run(quick=args.quick)
    took_s = time.monotonic() - started
    show(figures)
    write(figures, args.output, took_s=took_s, quick=args.quick)
    missed = [each.name for each in figures if each.ok is False]
    bounded = [each for each in figures if each.ok is not None]
    print(
        f"{len(bounded) - len(missed)} of {len(bounded)} bounds kept, {took_s:.0f} s, see {args.output.name}"
    )
    return 1 if args.strict and missed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure in network namespaces of its own; figures are compared within one run.",
        epilog="example:\n  python -m bench --only throughput --quick",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--only", action="append", choices=list(BENCHES), metavar="NAME", help=f"one of {', '.join(BENCHES)}"
    )
    parser.add_argument("--quick", action="store_true", help="fewer samples: a look, not a judgement")
    parser.add_argument("--strict", action="store_true", help="exit 1 when a figure misses its bound")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS, metavar="FILE", help="results as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
