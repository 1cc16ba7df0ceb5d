"""`isolator-check` as a plain user in a network: verdicts, gates, signals, and every kind of bad input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.faults import world
from tests.faults.lab import UNPRIVILEGED, FaultLab
from tests.faults.topology import ADDRESSES, DEVICE
from tests.faults.world import CRL, EDR, GW1, GW2

pytestmark = [pytest.mark.netns, pytest.mark.e2e]

ROOT = Path(__file__).parents[2]
GATE = ROOT / "packaging" / "onboarding" / "gate.sh"


def _python() -> str:
    """An interpreter that a plain user can start: one in somebody's home directory is out of reach."""
    reach = [*UNPRIVILEGED, "sh", "-c", '"$0" -c ""', sys.executable]
    if subprocess.run(reach, capture_output=True, timeout=30, check=False).returncode == 0:
        return sys.executable
    return f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"


CHECK = (_python(), "-m", "connectivity_check")
NOBODY = 65534
SILENT = "20.99.99.99"
"""An address that never answers."""


class Scene:
    """A healthy network, and a directory in which the plain user may write."""

    def __init__(self, lab: FaultLab) -> None:
        self.lab = lab
        self.home = lab.directory / "home"
        self.home.mkdir()
        os.chown(self.home, NOBODY, NOBODY)
        self.list = lab.write("list.yaml", world.list_text((GW1, GW2, EDR, CRL)))
        self.expectations = lab.write("expectations.yaml", "rules: []\n")
        self.usual = (
            "--list", str(self.list), "--expectations", str(self.expectations), "--public-ca", str(lab.public_store),
        )  # fmt: skip

    def environment(self) -> dict[str, str]:
        return {
            **self.lab.checker_environment(),
            "PYTHONPATH": f"{ROOT}:{sysconfig.get_path('purelib')}",
            "PYTHONWARNINGS": "error",
        }

    def run(
        self, *arguments: str, before: Sequence[str] = (), timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run the command in the device, without privileges."""
        command = [*before, *UNPRIVILEGED, *CHECK, *arguments]
        return self.lab.device.run(command, timeout, env=self.environment())

    def popen(self, *arguments: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        command = [*UNPRIVILEGED, *CHECK, *arguments]
        return self.lab.device.popen(command, stdout=pipe, stderr=pipe, text=True, env=self.environment())

    def files(self) -> list[str]:
        """Whatever is in the user's directory."""
        return sorted(each.name for each in self.home.iterdir())


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with FaultLab() as lab:
        lab.rule(lab.site, "forward", f"ip daddr {SILENT} drop")
        yield Scene(lab)


@pytest.fixture(autouse=True)
def _clean(scene: Scene) -> Iterator[None]:
    yield
    for each in scene.home.iterdir():
        each.unlink()


# Verdicts


def test_a_healthy_network_is_open(scene: Scene) -> None:
    done = scene.run(*scene.usual, "--direct", "--format", "json")
    assert done.returncode == 0, done
    report = json.loads(done.stdout)
    assert [row["outcome"] for row in report["rows"]] == ["reachable"] * 4, report["rows"]
    assert done.stderr == ""
    assert report["source_address"] == ADDRESSES[DEVICE].v4


@pytest.mark.parametrize("name", ["table", "csv", "xlsx", "junit", "html", "markdown", "nagios", "json"])
def test_every_format(scene: Scene, name: str) -> None:
    file = scene.home / "report"
    done = scene.run(*scene.usual, "--direct", "--format", name, "-o", str(file))
    assert done.returncode == 0, done
    assert done.stdout == ""
    assert done.stderr.startswith("isolator-check: open: 4 of 4")
    assert file.stat().st_size > 30
    assert scene.files() == ["report"]


def test_the_gate(scene: Scene) -> None:
    done = scene.run(*scene.usual, "--direct", "--gate")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("open: 4 of 4 required endpoints reachable (")
    assert done.stdout.count("\n") == 1


def test_own_targets_alone(scene: Scene) -> None:
    options = ("--expectations", str(scene.expectations), "--public-ca", str(scene.lab.public_store))
    done = scene.run(
        *options, "--direct", "--format", "json", "--target", GW1.host, "--target", f"{GW2.host}:443"
    )
    assert done.returncode == 0, done
    assert [row["target"] for row in json.loads(done.stdout)["rows"]] == [GW1.host, GW2.host]


def test_a_recorded_run_is_judged_again_without_a_network(scene: Scene) -> None:
    file = scene.home / "report.json"
    scene.run(*scene.usual, "--direct", "-o", str(file))
    done = scene.run("--replay", str(file), "--format", "json", before=["unshare", "--net"])
    assert done.returncode == 0, done
    assert json.loads(done.stdout)["rows"] == json.loads(file.read_text())["rows"]


def test_a_baseline_of_the_same_network_shows_no_change(scene: Scene) -> None:
    file = scene.home / "report.json"
    scene.run(*scene.usual, "--direct", "-o", str(file))
    done = scene.run(*scene.usual, "--direct", "--baseline", str(file), "--format", "json")
    assert json.loads(done.stdout)["changes"] == []


def test_a_reader_that_goes_away(scene: Scene) -> None:
    command = " ".join((*CHECK, *scene.usual, "--direct"))
    done = scene.lab.device.run(
        [*UNPRIVILEGED, "bash", "-c", f"{command} | true; echo ${{PIPESTATUS[0]}}"],
        60,
        env=scene.environment(),
    )
    assert (done.stdout, done.stderr) == ("0\n", "")


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams(scene: Scene, closed: str) -> None:
    """As under some schedulers: the exit code still tells."""
    command = f"{' '.join((*CHECK, *scene.usual))} --direct --format json {closed}"
    done = scene.lab.device.run([*UNPRIVILEGED, "sh", "-c", command], 60, env=scene.environment())
    assert (done.returncode, done.stderr) == (0, "")
    assert bool(done.stdout) == (closed == "2>&-")


def test_a_full_disk_is_told(scene: Scene) -> None:
    command = f"{' '.join((*CHECK, *scene.usual))} --direct > /dev/full"
    done = scene.lab.device.run([*UNPRIVILEGED, "sh", "-c", command], 60, env=scene.environment())
    assert done.returncode == 2
    assert done.stderr == (
        "isolator-check: the result cannot be written to standard output: No space left on device\n"
    )


# Faults that end a measurement


def test_without_any_network(scene: Scene) -> None:
    done = scene.run(*scene.usual, "--direct", "--gate", "--timeout", "1", before=["unshare", "--net"])
    assert done.returncode == 3, done
    assert done.stdout.startswith("unknown: nothing could be measured")


def test_a_resolver_that_is_not_there(scene: Scene) -> None:
    done = scene.run(*scene.usual, "--direct", "--gate", "--timeout", "1", "--resolver", SILENT)
    assert done.returncode == 3, done
    assert SILENT in done.stdout
    assert done.stdout.startswith("unknown: nothing could be measured")


def test_a_blocked_endpoint_and_the_onboarding_gate(scene: Scene) -> None:
    """One lab for both: a rule of the site firewall, then the gate in front of an onboarding package."""
    with FaultLab() as lab:
        blocked = Scene(lab)
        gate = ["sh", str(GATE), *blocked.usual, "--direct", "--", "touch", str(blocked.home / "onboarded")]
        program = lab.write("isolator-check", f'#!/bin/sh\nexec {" ".join(CHECK)} "$@"\n')
        program.chmod(0o755)
        kept = blocked.home / "kept.json"
        environment = {**blocked.environment(), "ISOLATOR_CHECK": str(program), "GATE_REPORT": str(kept)}

        lab.rule(
            lab.site, "forward", f"ip daddr {GW1.v4} tcp dport 443 reject with icmp type admin-prohibited"
        )
        lab.rule(
            lab.site, "forward", f"ip6 daddr {GW1.v6} tcp dport 443 reject with icmpv6 type admin-prohibited"
        )
        done = lab.device.run([*UNPRIVILEGED, *gate], 60, env=environment)
        assert done.returncode == 1, done
        assert "gate: blocked: 1 of 4 required endpoints" in done.stderr
        assert f"{GW1.host}:443 tcp.icmp_admin" in done.stderr
        assert blocked.files() == ["kept.json"]
        rows = json.loads(kept.read_text())["rows"]
        assert [row["outcome"] for row in rows].count("blocked") == 1

        lab.nft(lab.site, "delete table inet fault\n")
        done = lab.device.run([*UNPRIVILEGED, *gate], 60, env=environment)
        assert done.returncode == 0, done
        assert "gate: starting the onboarding" in done.stderr
        assert blocked.files() == ["kept.json", "onboarded"]


def test_a_pac_file_that_is_not_one_blocks_every_row(scene: Scene) -> None:
    """The agent would have no way either: that is a verdict on the network, not on the command line."""
    for body in ("(", "(u, h) { throw 'x'; }", "(u, h) { while (true) {} }", "(u, h) { return 'NONSENSE'; }"):
        file = scene.lab.write("broken.pac", f"function FindProxyForURL{body}")
        done = scene.run(*scene.usual, "--pac", str(file), "--timeout", "1", "--format", "json")
        assert done.returncode == 1, done
        assert {row["failure"] for row in json.loads(done.stdout)["rows"]} == {"proxy.pac_error"}


def test_a_pac_server_that_is_not_there(scene: Scene) -> None:
    before = time.monotonic()
    done = scene.run(
        *scene.usual, "--pac", f"http://{SILENT}/proxy.pac", "--timeout", "1", "--format", "json"
    )
    assert done.returncode == 1, done
    assert {row["failure"] for row in json.loads(done.stdout)["rows"]} == {"proxy.pac_error"}
    assert time.monotonic() - before < 15


def _slow(scene: Scene) -> subprocess.Popen[str]:
    """A run that would take a minute, once it is under way."""
    limits = ("--timeout", "30", "--deadline", "60")
    options = ("--target", SILENT, *limits, "--direct", "--format", "json")
    process = scene.popen(*scene.usual, *options)
    deadline = time.monotonic() + 20
    while SILENT not in scene.lab.device.run(["ss", "-Htn", "state", "syn-sent"]).stdout:
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_gives_what_is_known_and_says_that_it_is_partial(scene: Scene, number: int) -> None:
    process = _slow(scene)
    time.sleep(1)
    _signal_checker(process, number)
    out, err = process.communicate(timeout=10)
    assert process.returncode == 3, (out, err)
    report = json.loads(out)
    assert len(report["rows"]) == 5
    assert [row["outcome"] for row in report["rows"]].count("reachable") == 4
    assert "PARTIAL" in err
    assert "Traceback" not in err


def test_the_second_signal_ends_it_at_once(scene: Scene) -> None:
    process = _slow(scene)
    _signal_checker(process, signal.SIGINT)
    _signal_checker(process, signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert process.returncode != 0
    assert "Traceback" not in err
    assert out == "" or json.loads(out)


def _signal_checker(process: subprocess.Popen[str], number: int) -> None:
    """nsenter and setpriv exec, so the process is the command itself."""
    process.send_signal(number)


# Bad input: one sentence, exit code 2, nothing left behind

LONG_NAME = ".".join(["label"] * 300)

BAD: list[tuple[tuple[str, ...], str]] = [
    (("--list", "no-such-list"), "no-such-list"),
    (("--list", "standard@1999-01"), "1999-01"),
    (("--list", "{broken}"), "broken.yaml:"),
    (("--list", "{home}"), "home"),
    (("--list", "/dev/zero"), "no regular file"),
    (("--geo", "XX"), "XX"),
    (("--os", "beos"), "beos"),
    (("--format", "pdf"), "pdf"),
    (("--timeout", "0"), "seconds"),
    (("--timeout", "nan"), "seconds"),
    (("--timeout", "-5"), "seconds"),
    (("--timeout", "1e99"), "seconds"),
    (("--deadline", "inf"), "seconds"),
    (("--concurrency", "0"), "4096"),
    (("--source-address", "192.0.2.77"), "192.0.2.77"),
    (("--source-address", "eth0"), "eth0"),
    (("--resolver", "dns.example"), "dns.example"),
    (("--ca", "{home}/none.pem"), "none.pem"),
    (("--ca", "{broken}"), "broken.yaml"),
    (("--public-ca", "{home}/none.pem"), "none.pem"),
    (("--expectations", "{home}/none.yaml"), "none.yaml"),
    (("--expectations", "{broken}"), "broken.yaml"),
    (("--proxy", "ftp://proxy.example"), "--proxy"),
    (("--proxy", "http://user:hunter2@proxy example:99999"), "--proxy"),
    (("--proxy", "http://user:hunter2@proxy.example:99999"), "--proxy"),
    (("--proxy", "http://proxy.example", "--direct"), "--direct"),
    (("--control-proxy", "http://:0"), "--control-proxy"),
    (("--control-host", "a b"), "a b"),
    (("--pac", "{home}/none.pac"), "none.pac"),
    (("--pac", "{page}"), "page.pac"),
    (("--settings", "{home}/none.reg"), "none.reg"),
    (("--target", "two words"), "two words"),
    (("--target", LONG_NAME), "label"),
    (("--target", "a.example:70000"), "70000"),
    (("--target", "a.example:0"), "a.example:0"),
    (("--target", "https://a.example/"), "a.example"),
    (("--target", ""), "''"),
    (("--replay", "{broken}"), "broken.yaml"),
    (("--replay", "{home}/none.json"), "none.json"),
    (("--replay", "{report}", "--target", "a.example"), "--replay"),
    (("--baseline", "{home}/none.json"), "none.json"),
    (("-o", "{home}/no/such/place.json"), "place.json"),
    (("-o", "/proc/report.json"), "/proc/report.json"),
    (("-o", "/etc/report.json"), "/etc/report.json"),
    (("-o", "{home}", "--format", "json"), "home"),
    (("-o", "{home}/report"), "--format"),
    (("--report-to", "http://controller.example/"), "clear text"),
    (("--report-to", "https://controller.example/"), "ISOLATOR_TOKEN"),
    (("--gate", "--format", "json"), "--gate"),
    (("surplus",), "surplus"),
]


@pytest.mark.parametrize(("arguments", "word"), BAD, ids=[" ".join(each)[:40] for each, _ in BAD])
def test_bad_input(scene: Scene, arguments: tuple[str, ...], word: str) -> None:
    places = {
        "home": str(scene.home),
        "broken": str(
            scene.lab.write("broken.yaml", "header: {list_id: x}\nentries: [{pattern: 'a b.example'\n")
        ),
        "page": str(scene.lab.write("page.pac", "<html><body>Not found</body></html>")),
        "report": str(scene.home / "report.json"),
    }
    given = [each.format(**places) for each in arguments]
    before = time.monotonic()
    done = scene.run(*given)
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert done.stderr.startswith("isolator-check: "), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert word in done.stderr
    assert "hunter2" not in done.stderr
    assert scene.files() == []
    assert time.monotonic() - before < 10, "it was found out before measuring"


def test_bad_settings_of_this_machine(scene: Scene) -> None:
    environment = {**scene.environment(), "HTTPS_PROXY": "http://user:hunter2@[::1"}
    done = scene.lab.device.run([*UNPRIVILEGED, *CHECK, *scene.usual], 30, env=environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "HTTPS_PROXY" in done.stderr
    assert "hunter2" not in done.stderr
