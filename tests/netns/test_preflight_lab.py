"""The preflight in the lab, with its real network: healthy names, one that is cut, and an end by Ctrl-C."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from typing import Any

import pytest

from tests.lab import Lab, world
from tests.lab.topology import ADDRESSES, DEVICE

pytestmark = pytest.mark.netns

NAMES = (world.EXACT, world.WILDCARD, world.CHAINED, world.UNLISTED, "login.microsoftonline.com")


def targets(*names: str) -> list[str]:
    """Names as the command wants them."""
    return [part for name in names for part in ("--target", name)]


def check(lab: Lab, command: list[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit code and report of one run in the device."""
    done = lab.device.run([*command, *arguments], timeout=60)
    assert done.stdout, done.stderr
    assert done.stderr == ""
    report: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, report


def test_healthy_names_are_reachable(module_lab: Lab, command: list[str]) -> None:
    began = time.monotonic()
    code, report = check(module_lab, command, *targets(*NAMES))
    assert [(row["target"], row["outcome"], row["failure"]) for row in report["rows"]] == [
        (name, "reachable", None) for name in NAMES
    ]
    assert code == 0
    assert time.monotonic() - began < 5, "nothing was waited for"
    assert report["source_address"] == ADDRESSES[DEVICE].v4
    for row in report["rows"]:
        probes = [each for each in row["observations"] if each["role"] == "probe"]
        assert {each["step"] for each in probes} == {"resolve", "connect", "tls_handshake", "http_round_trip"}
        families = {each["evidence"]["family"] for each in probes if each["step"] == "connect"}
        assert families == {4, 6}, "every address is tried"


def test_a_name_that_does_not_exist_and_a_port_that_is_closed(module_lab: Lab, command: list[str]) -> None:
    code, report = check(
        module_lab, command, *targets(world.EXACT, "gone.example.com", f"{world.EXACT}:4444")
    )
    assert [row["failure"] for row in report["rows"]] == [None, "dns.nxdomain", "tcp.refused_host"]
    assert code == 1


def test_a_router_that_drops_and_one_that_prohibits(module_lab: Lab, command: list[str], cut: Any) -> None:
    lost, said_no = world.STATIC_US, world.STATIC_EU
    cut(f"ip daddr {lost} drop")
    cut(f"ip daddr {said_no} reject with icmp type admin-prohibited")
    code, report = check(module_lab, command, "--timeout", "3", *targets(world.EXACT, lost, said_no))
    assert [row["failure"] for row in report["rows"]] == [None, "tcp.dropped", "tcp.icmp_admin"]
    assert report["rows"][2]["blocked_by"]["address"] == "192.168.50.1"
    assert code == 1


def test_broken_ipv6_is_a_warning(module_lab: Lab, command: list[str], cut: Any) -> None:
    cut("meta nfproto ipv6 tcp dport 443 drop")
    code, report = check(module_lab, command, "--timeout", "2", *targets(*NAMES))
    assert {(row["outcome"], row["failure"]) for row in report["rows"]} == {("degraded", "ip.v6_broken")}
    assert code == 0


def test_control_c_gives_what_is_known_at_once(module_lab: Lab, command: list[str], cut: Any) -> None:
    cut(f"ip daddr {world.STATIC_US} drop")
    pipe = subprocess.PIPE
    process = module_lab.device.popen(
        [*command, "--timeout", "30", *targets(world.EXACT, world.STATIC_US)],
        stdout=pipe,
        stderr=pipe,
        text=True,
    )
    time.sleep(3)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert time.monotonic() - began < 2
    report = json.loads(out)
    assert [row["failure"] for row in report["rows"]] == [None, "meta.interrupted"]
    assert report["interrupted"] is True
