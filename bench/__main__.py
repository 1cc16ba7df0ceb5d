"""`make bench` (`python -m bench`): figures as ratios within one run.

python -m bench --quick --only orders --only dns
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.figure import Figure
from bench.report import show, write

RESULTS = Path(__file__).with_name("results.json")
PARTS = ("names", "commit", "orders", "dns", "throughput")


def part(name: str) -> Callable[..., list[Figure]]:
    """The measuring function of a part, imported when it is wanted."""
    if name == "names":
        from bench.name_match import run
    elif name == "commit":
        from bench.commit import run
    elif name == "orders":
        from bench.orders import run
    elif name == "dns":
        from bench.dns_gate import run
    else:
        from bench.throughput import run
    return run


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, show, write; 1 only with --strict and a figure that misses its bound."""
    parser = argparse.ArgumentParser(
        prog="bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", action="append", choices=PARTS, help="measure this part; may be repeated")
    parser.add_argument("--quick", action="store_true", help="fewer samples: a look, not a figure to quote")
    parser.add_argument("--strict", action="store_true", help="exit 1 when a figure misses its bound")
    args = parser.parse_args(arguments)
    started = time.monotonic()
    figures: list[Figure] = []
    for name in args.only or PARTS:
        print(f"measuring: {name}", file=sys.stderr)
        figures += part(name)(quick=args.quick)
    show(figures)
    write(figures, RESULTS, took_s=time.monotonic() - started, quick=args.quick)
    missed = [each.name for each in figures if each.ok is False]
    print(
        f"{len(figures)} figures in {time.monotonic() - started:.0f} s, "
        f"{len(missed)} missed; {RESULTS.name} written",
        file=sys.stderr,
    )
    return 1 if missed and args.strict else 0


if __name__ == "__main__":
    sys.exit(main())
