"""The ground for the preflight: 98 names on addresses of their own, their servers, a firewall between."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.lab import Lab
from tests.lab.ground import python_path
from tests.lab.service import Service
from tests.lab.zone import Host

COUNT = 98
"""As many rows as the standard list has."""
TIMEOUT_S = 5
NAMES = tuple(f"edr-{n:02}.preflight.example.net" for n in range(COUNT))
_MOZILLA = Path("/etc/ssl/certs/ca-certificates.crt")


def hosts() -> tuple[Host, ...]:
    """Every name with an IPv4 and an IPv6 address that no other name has."""
    return tuple(
        Host(name, (f"20.80.0.{10 + n}",), (f"2603:1080::{n + 16:x}",)) for n, name in enumerate(NAMES)
    )


@dataclass(frozen=True, slots=True)
class Checked:
    """One run of the command: its document, and the seconds from its start to its end."""

    document: dict[str, Any]
    wall_s: float

    @property
    def measuring_s(self) -> float:
        """What the command itself says the measuring took."""
        return float(self.document["took_s"])

    @property
    def done_ms(self) -> dict[str, float]:
        """When each row that is well had its last answer, in ms from the start of the run, by name.

        Not how long the row itself says it took: a wait for its turn would not count.
        """
        return {
            row["target"]: max(each["started_ms"] + each["took_ms"] for each in row["observations"])
            for row in self.document["rows"]
            if row["outcome"] == "reachable"
        }


class Ground:
    """What both ways are measured on. Use `ground()`."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._files = lab.directory / "preflight"

    def prepare(self) -> str:
        """Write lists and certificates; give the file that tells the server its certificates."""
        self._files.mkdir()
        authority = self.lab.authority
        authority.prepare()
        issued = {name: str(authority.issue(name, [name]).pem) for name in NAMES}
        rows = "".join(f"  - {{n: {n}, pattern: {name}}}\n" for n, name in enumerate(NAMES, 1))
        self.list_file.write_text(f"header: {{list_id: bench-preflight, count: {COUNT}}}\nentries:\n{rows}")
        # On the internet the servers' authority is one of many that everybody believes.
        self.store.write_bytes(_MOZILLA.read_bytes() + self.lab.ca_pem.read_bytes())
        certificates = self._files / "certificates.json"
        certificates.write_text(json.dumps(issued))
        return str(certificates)

    @property
    def list_file(self) -> Path:
        """The list with the 98 names."""
        return self._files / "list.yaml"

    @property
    def store(self) -> Path:
        """The public authorities, the lab's among them."""
        return self._files / "store.pem"

    @cached_property
    def environment(self) -> dict[str, str]:
        """The environment of either command: nothing of the caller's that would change the way out.

        An installed package has its byte code compiled, a fresh checkout has not: here the first run does it.
        """
        kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        kept.pop("PYTHONDONTWRITEBYTECODE", None)
        return {
            **kept,
            "PYTHONPATH": python_path(),
            "PYTHONPYCACHEPREFIX": str(self._files / "byte-code"),
            "SSL_CERT_FILE": str(self.store),
        }

    def check(self, *options: str) -> Checked:
        """Run the command in the device and give what it wrote."""
        out = self._files / "report.json"
        took = self._timed([*self.command(*options), "--format", "json", "-o", str(out)])
        return Checked(json.loads(out.read_bytes()), took)

    def command(self, *options: str) -> list[str]:
        """Give the command line; `options` come on top."""
        given = ["--list", str(self.list_file), "--public-ca", str(self.store), "--timeout", str(TIMEOUT_S)]
        return [sys.executable, "-m", "connectivity_check", *given, *options]

    def peaks(self, *options: str) -> tuple[float, float]:
        """Give the most memory that the command had at a time, and the most that a child of it had, in MiB.

        The command's is the kernel's account, in which also counts what this process had when it started it.
        The child's is looked up every few milliseconds; 0 when there was none.
        """
        command = self.lab.device.command([*self.command(*options), "--format", "json"])
        child = 0
        with subprocess.Popen(command, env=self.environment, stdout=subprocess.DEVNULL) as process:
            while True:
                pid, status, usage = os.wait4(process.pid, os.WNOHANG)
                if pid:
                    process.returncode = os.waitstatus_to_exitcode(status)
                    return usage.ru_maxrss / 1024, child / 1024
                child = max([child, *map(_peak_kib, _children(process.pid))])
                time.sleep(0.003)

    def curl(self, ca: Path) -> float:
        """Fetch every name at once with curl, by IPv4 or IPv6 as it likes; give the seconds it took."""
        argv = ["curl", "-Z", "--parallel-max", "100", "--silent", "--show-error", "--fail"]
        argv += ["--cacert", str(ca)]
        for name in NAMES:
            argv += ["-o", "/dev/null", f"https://{name}/"]
        return self._timed(argv)

    def _timed(self, argv: Sequence[str]) -> float:
        command = self.lab.device.command(argv)
        started = time.perf_counter()
        done = subprocess.run(command, env=self.environment, capture_output=True, check=False)
        took = time.perf_counter() - started
        if done.returncode not in (0, 1, 3):
            raise RuntimeError(f"{argv[0]} ended with {done.returncode}: {done.stderr.decode()[-500:]}")
        return took

    def drop(self, count: int) -> tuple[str, ...]:
        """Let the router drop every packet to the first `count` servers; give their names."""
        # A table that is there is deleted, one that is not must be made first.
        rules = "table inet preflight {}\ndelete table inet preflight\n"
        dropped = hosts()[:count]
        if dropped:
            four = ", ".join(each.v4[0] for each in dropped)
            six = ", ".join(each.v6[0] for each in dropped)
            rules += (
                "table inet preflight {\nchain forward {\ntype filter hook forward priority 0;\n"
                f"ip daddr {{ {four} }} drop\nip6 daddr {{ {six} }} drop\n}}\n}}\n"
            )
        self.lab.router.run(["nft", "-f", "-"], stdin=rules, check=True)
        return tuple(each.name for each in dropped)


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:  # it has ended meanwhile
        return []


def _peak_kib(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0


@contextlib.contextmanager
def ground() -> Iterator[Ground]:
    """Build it, and remove it afterwards."""
    with Lab(servers=False, hosts=hosts()) as lab:
        made = Ground(lab)
        certificates = made.prepare()
        server = Service(
            lab.internet, "bench.preflight_server_process", [certificates], lab.directory / "preflight.log"
        )
        try:
            server.hear()
            yield made
        finally:
            server.close()
