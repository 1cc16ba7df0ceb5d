"""Fuzzes each parser in turn: `python -m tests.fuzz [SECONDS]`; exit code 1 when one has a finding.

Seeds are the recorded captures and the sound DNS messages of the tests. What is found is written to
build/fuzz, with the corpus that grew, so that the next run goes on from there.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.corpus import hellos
from tests.corpus.dns.sound import answer, query

GROUND = Path("build/fuzz")
ASKED = query("a.b.c.wild.test")
DNS = (
    query("www.listed.test"),
    query("a.b.c.wild.test", "AAAA", edns=True, options=((10, b"12345678"),)),
    answer(ASKED, "a.b.c.wild.test. 60 CNAME x.wild.test.", "x.wild.test. 60 A 20.1.2.3"),
)
CHUNKS = (
    b"POST /a%2e/../b HTTP/1.1\r\nHost: b.test:80\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n\x16\x03\x01"
)
SEEDS = {
    "dns": (*DNS, *(len(message).to_bytes(2, "big") + message for message in DNS)),
    "tls": tuple(data for _, data in hellos.recorded("tls")),
    "http": (CHUNKS, *(data for _, data in hellos.recorded("http"))),
}


def fuzz(kind: str, seconds: int) -> bool:
    """Say whether a run of so many seconds had no finding."""
    corpus = GROUND / kind
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS[kind]):
        corpus.joinpath(f"seed{number}").write_bytes(seed)
    command = (
        *(sys.executable, "-m", f"tests.fuzz.fuzz_{kind}", f"-max_total_time={seconds}", "-max_len=4096"),
        *("-timeout=10", "-verbosity=0", "-print_final_stats=1", f"-artifact_prefix={GROUND}/{kind}-"),
        str(corpus),
    )
    return subprocess.run(command).returncode == 0


def main() -> int:
    """Fuzz all of them, also after a finding."""
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 600
    clean = [fuzz(kind, seconds) for kind in SEEDS]
    return 0 if all(clean) else 1


if __name__ == "__main__":
    sys.exit(main())
