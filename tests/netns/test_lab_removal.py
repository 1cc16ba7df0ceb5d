"""Nothing of a lab is left, however it ends; and several live side by side."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import Lab, LabError, kernel, leftovers, topology, world
from tests.lab.ground import ROOT, Ground, python_path

pytestmark = pytest.mark.netns

OWNER = """
import sys
from tests.lab import Lab
with Lab(container=True) as lab:
    lab.device.popen(["sleep", "600"])
    lab.judge.watch(b"marker")
    print(lab.name.stem, flush=True)
    sys.stdin.read()
"""


def traces(stem: str) -> list[str]:
    """Namespaces, directories and processes that carry a lab's name."""
    found = [
        str(p) for d in (leftovers.NETNS_DIRECTORY, Path(tempfile.gettempdir())) for p in d.glob(stem + "*")
    ]
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if stem.encode() in text:
            found.append(str(path))
    return found


@pytest.fixture
def owner() -> Iterator[subprocess.Popen[str]]:
    """Another process with an open lab; its first line of output is the lab's stem."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": python_path()},
    )
    with process:
        yield process
        process.kill()
    leftovers.sweep()


def stem_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    stem = process.stdout.readline().strip()
    assert stem.startswith("isolab-")
    return stem


def test_an_open_lab_is_not_opened_again() -> None:
    with Lab(servers=False, resolver=False) as lab:
        with pytest.raises(RuntimeError, match="open already"):
            lab.__enter__()
        assert lab.device.interfaces() == ("lo", "eth0")


def test_a_forked_child_does_not_take_the_lab_down() -> None:
    with Lab(servers=False, resolver=False) as lab:
        child = os.fork()
        if child == 0:
            lab.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert lab.device.run(["true"]).returncode == 0


def test_after_the_with_everything_is_gone() -> None:
    with Lab(container=True) as lab:
        sleeper = lab.device.popen(["sleep", "600"])
        lab.judge.watch(b"marker")
        lab.sender([(world.UNLISTED_ADDRESS.v4, 9)]).start()
        names = {lab.name.of(role) for role in lab.topology.roles}
        assert names <= {path.name for path in leftovers.NETNS_DIRECTORY.iterdir()}
        assert traces(lab.name.stem)
    assert traces(lab.name.stem) == []
    assert sleeper.poll() is not None
    lab.close()  # a second time does nothing


def test_an_exception_inside_is_passed_on_and_leaves_nothing() -> None:
    with pytest.raises(LookupError), Lab(servers=False) as lab:
        raise LookupError
    assert traces(lab.name.stem) == []


def test_a_build_that_fails_half_way_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topology, "configuration", lambda *_: "link set nosuch0 up\n")
    lab = Lab()
    with pytest.raises(LabError, match=r"lab\.ip_refused.*configure"), lab:
        pass
    assert traces(lab.name.stem) == []


def test_a_process_that_ignores_sigterm_and_a_daemon_are_ended() -> None:
    stubborn = "import signal as s, time; s.signal(s.SIGTERM, s.SIG_IGN); print(flush=True); time.sleep(600)"
    with Lab(servers=False, resolver=False) as lab:
        process = lab.device.popen([sys.executable, "-c", stubborn], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        lab.device.run(
            ["sh", "-c", "setsid --fork sleep 600 >/dev/null 2>&1"], check=True
        )  # no child of ours
        (daemon,) = set(leftovers.processes_in([lab.device.name])) - {process.pid}
    assert process.returncode == -signal.SIGKILL
    assert kernel.process_start(daemon) is None  # gone, or a zombie that init has yet to collect


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_owner_leaves_nothing(owner: subprocess.Popen[str], number: signal.Signals) -> None:
    stem = stem_of(owner)
    owner.send_signal(number)
    assert owner.wait(10) in (128 + number, -number)
    assert traces(stem) == []


def test_what_a_killed_owner_left_goes_with_the_next_lab(owner: subprocess.Popen[str]) -> None:
    stem = stem_of(owner)
    owner.kill()
    owner.wait(10)
    assert len([trace for trace in traces(stem) if trace.startswith(str(leftovers.NETNS_DIRECTORY))]) == 5
    with Lab(servers=False, resolver=False):
        assert traces(stem) == []


def test_a_living_owners_lab_is_not_swept(owner: subprocess.Popen[str]) -> None:
    stem = stem_of(owner)
    before = traces(stem)
    assert not [name for name in leftovers.sweep() if name.startswith(stem)]
    assert traces(stem) == before


@pytest.mark.parametrize(
    "name", ["ta", "isolab", "isolab-1-2-device", "isolab-1-2-3-", "xisolab-1-2-3-device"]
)
def test_foreign_names_are_not_ours(name: str) -> None:
    assert leftovers.parse_name(name) is None


def test_a_reused_pid_is_another_owner() -> None:
    own = leftovers.own_name(1)
    assert own.owner_lives()
    assert leftovers.parse_name(own.of("device")) == own
    assert not leftovers.LabName(own.pid, own.start - 1, 1).owner_lives()


def test_a_link_in_tmp_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept")
    link = Path(tempfile.gettempdir()) / leftovers.LabName(2**22 - 1, 1, 1).of("dir_trap")
    link.symlink_to(tmp_path)
    try:
        leftovers.sweep()
        assert (tmp_path / "precious").read_text() == "kept"
    finally:
        link.unlink()


def test_several_labs_live_side_by_side_and_do_not_hear_each_other() -> None:
    with Lab() as one, Lab() as two, Lab(servers=False) as three:
        for lab in (one, two):
            assert lab.reach.tls(world.EXACT).ok
            lab.resolver.clear()
        with two.judge.watch(b"MARK-SIDE") as sniffer:
            with one.device.socket(2, 2) as sock:
                sock.sendto(b"MARK-SIDE", (world.UNLISTED_ADDRESS.v4, 9))
            assert sniffer.report().sightings == ()
        one.reach.dns(world.UNLISTED)
        assert two.resolver.log() == ()
        one.close()
        assert two.reach.tls(world.EXACT).ok
        assert three.reach.dns(world.EXACT).ok


def test_the_machines_own_network_is_untouched() -> None:
    def own() -> str:
        shown = (["ip", "-br", "link"], ["ip", "-4", "-br", "addr"], ["ip", "route"], ["ip", "-6", "route"])
        return "".join(subprocess.run(c, capture_output=True, text=True, check=True).stdout for c in shown)

    before = own()
    with Lab(container=True) as lab:
        assert lab.reach.udp(world.UNLISTED).ok
        assert own() == before
    assert own() == before


def test_a_host_without_namespaces_gets_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.lab.ground.probe", lambda: Ground("lab.netns_refused", "said so"))
    with pytest.raises(LabError, match=r"lab\.netns_refused: make a lab: said so"), Lab():
        pass


def plain_user(*command: str) -> subprocess.CompletedProcess[str]:
    """Run Python as nobody; skips, with the code, where nobody may not read the interpreter or the tests."""
    environment = {
        "PATH": "/usr/bin:/bin",  # as a plain user has it, without sbin
        "PYTHONPATH": os.pathsep.join([str(ROOT), sysconfig.get_path("purelib")]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    reached = f"import sys, tests.lab, trustme, dns; assert sys.version_info[:2] == {sys.version_info[:2]}"
    # Through env, because setpriv itself may still start what only root can reach.
    become = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--", "env"]
    if (refused := subprocess.run([*become, "true"], capture_output=True, text=True, check=False)).returncode:
        pytest.skip(f"lab.no_other_user: {refused.stderr.strip()}")
    for python in (sys.executable, "/usr/bin/python3"):
        tried = subprocess.run(
            [*become, python, "-c", reached], env=environment, capture_output=True, check=False
        )
        if tried.returncode == 0:
            argv = [*become, python, "-m", *(python if word == "PYTHON" else word for word in command)]
            return subprocess.run(
                argv, env=environment, capture_output=True, text=True, timeout=60, check=False, cwd="/"
            )
    pytest.skip("lab.plain_user_cannot_read: nobody cannot read this interpreter or these tests")


def test_a_plain_user_has_the_same_lab() -> None:
    allowed = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "unshare", "-Urnm", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    if allowed.returncode != 0:
        pytest.skip(f"lab.userns_refused: {allowed.stderr.strip()}")
    before = set(leftovers.NETNS_DIRECTORY.glob("*"))
    done = plain_user("tests.lab.ground", "PYTHON", "-m", "tests.lab")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("ok  ") == len(done.stdout.splitlines()) > 20
    for path in set(leftovers.NETNS_DIRECTORY.glob("*")) - before:
        lab = leftovers.parse_name(path.name)
        assert lab is None or lab.owner_lives()  # another test run's, made meanwhile


def test_a_plain_user_without_a_namespace_is_told_how() -> None:
    done = plain_user("tests.lab")
    assert done.returncode == 4
    assert done.stderr.startswith("lab.plain_user")


def test_the_descriptors_are_given_back() -> None:
    def count() -> int:
        return len(os.listdir("/proc/self/fd"))

    def once() -> None:
        with Lab() as lab:
            assert lab.reach.tls(world.EXACT).ok
            lab.judge.watch(b"marker").report()
            lab.device.run(["true"])

    once()
    before = count()
    once()
    assert count() == before
    assert select.select([], [], [], 0) == ([], [], [])
