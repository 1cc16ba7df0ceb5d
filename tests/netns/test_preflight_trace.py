"""--trace in the lab: a reset made by the router, a prohibition, a drop, and who may not look."""

from __future__ import annotations

import json
import os
import shutil
import sys
from typing import Any

import pytest

from tests.lab import Lab, world
from tests.lab.topology import ADDRESSES, DEVICE, INTERNET, ROUTER, SECOND_RESOLVER

pytestmark = pytest.mark.netns

RESET, SAID_NO, LOST = world.STATIC_US, world.STATIC_EU, "20.15.141.77"


def check(lab: Lab, command: list[str], *names: str, timeout: str = "3") -> dict[str, dict[str, Any]]:
    """The rows of one run in the device, by target."""
    targets = [part for name in names for part in ("--target", name)]
    done = lab.device.run([*command, "--timeout", timeout, *targets], timeout=60)
    assert done.stdout, done.stderr
    assert done.stderr == ""
    return {row["target"]: row for row in json.loads(done.stdout)["rows"]}


def packets(row: dict[str, Any]) -> dict[str, Any]:
    """The evidence of role `packets`; there is exactly one."""
    (found,) = [each for each in row["observations"] if each["role"] == "packets"]
    assert (found["step"], found["failure"]) == ("connect", None)
    evidence: dict[str, Any] = found["evidence"]
    return evidence


def test_a_reset_a_prohibition_and_a_drop(module_lab: Lab, command: list[str], cut: Any) -> None:
    cut(f"ip daddr {RESET} tcp dport 443 reject with tcp reset")
    cut(f"ip daddr {SAID_NO} reject with icmp type admin-prohibited")
    cut(f"ip daddr {LOST} drop")
    rows = check(module_lab, [*command, "--trace"], world.EXACT, RESET, SAID_NO, LOST)
    assert not [each for each in rows[world.EXACT]["observations"] if each["role"] == "packets"]

    reset = packets(rows[RESET])
    assert (reset["address"], reset["port"], reset["rst_ttl"]) == (RESET, 443, 64), "from one hop away"
    assert "syn_ack_ttl" not in reset
    first, second = reset["packets"][:2]
    assert (first["direction"], first["flags"], first["from"]) == ("out", "S", ADDRESSES[DEVICE].v4)
    assert (second["direction"], second["flags"], second["from"], second["ttl"]) == ("in", "RA", RESET, 64)
    assert 0 < first["ms"] < second["ms"]
    assert rows[RESET]["failure"] == "tcp.reset_middlebox"

    said_no = packets(rows[SAID_NO])
    assert said_no["icmp_from"] == ADDRESSES[ROUTER].v4
    assert {"type": 3, "code": 13} in [each.get("icmp") for each in said_no["packets"]]
    assert "rst_ttl" not in said_no

    lost = packets(rows[LOST])
    assert lost["syns"] >= 2
    assert not {"rst_ttl", "syn_ack_ttl", "icmp_from"} & lost.keys()
    assert [each for each in lost["packets"] if each["direction"] == "in" and "flags" in each] == []
    assert len(lost["packets"]) <= 20


def test_the_same_in_ipv6(module_lab: Lab, command: list[str], cut: Any) -> None:
    said_no, reset = "2001:db8:7::1", "2001:db8:7::2"
    cut(f"ip6 daddr {said_no} reject with icmpv6 type admin-prohibited")
    cut(f"ip6 daddr {reset} tcp dport 443 reject with tcp reset")
    rows = check(module_lab, [*command, "--trace"], world.EXACT, f"[{said_no}]:443", f"[{reset}]:443")
    by_address = {packets(row)["address"]: packets(row) for row in rows.values() if row["failure"]}
    assert by_address[said_no]["icmp_from"] in (ADDRESSES[ROUTER].v6, SECOND_RESOLVER.v6), (
        "the router has both"
    )
    assert {"type": 1, "code": 1} in [each.get("icmp") for each in by_address[said_no]["packets"]]
    assert by_address[reset]["rst_ttl"] == 64


def test_a_name_that_does_not_exist_shows_the_answer(module_lab: Lab, command: list[str]) -> None:
    row = check(module_lab, [*command, "--trace"], "gone.example.com", world.EXACT)["gone.example.com"]
    seen = packets(row)
    assert (seen["address"], seen["port"]) == (ADDRESSES[ROUTER].v4, 53)
    assert {each["rcode"] for each in seen["packets"]} == {3}
    assert {each["from"] for each in seen["packets"]} == {ADDRESSES[ROUTER].v4}


def test_a_port_that_the_server_itself_refuses(module_lab: Lab, command: list[str]) -> None:
    (row,) = (
        r
        for r in check(module_lab, [*command, "--trace"], f"{RESET}:4444", world.EXACT).values()
        if r["failure"]
    )
    assert packets(row)["rst_ttl"] == 63, f"{ADDRESSES[INTERNET].v4} is one router further than the router"


def test_verdicts_are_the_same_without(module_lab: Lab, command: list[str], cut: Any) -> None:
    cut(f"ip daddr {RESET} tcp dport 443 reject with tcp reset")
    cut(f"ip daddr {SAID_NO} reject with icmp type admin-prohibited")
    names = (world.EXACT, RESET, SAID_NO, "gone.example.com")
    plain, traced = (check(module_lab, each, *names) for each in (command, [*command, "--trace"]))
    assert {n: (r["outcome"], r["failure"]) for n, r in plain.items()} == {
        n: (r["outcome"], r["failure"]) for n, r in traced.items()
    }
    assert "packets" not in json.dumps([r["observations"] for r in plain.values()])


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs root, to become nobody")
def test_nobody_may_not_look_and_is_told_so(module_lab: Lab, command: list[str]) -> None:
    """Nobody, who may read every file (the interpreter may lie in a closed home), and has no other right."""
    read_only = ("--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search")
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *read_only, "--"]
    names = ("--target", world.EXACT)
    done = module_lab.device.run([*nobody, *command, "--trace", *names], timeout=30)
    assert (done.returncode, done.stdout) == (2, "")
    assert "CAP_NET_RAW" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert module_lab.device.run([*nobody, *command, *names], timeout=30).returncode == 0, (
        "nobody may measure"
    )


def test_without_trace_scapy_is_never_imported(module_lab: Lab, command: list[str], cut: Any) -> None:
    cut(f"ip daddr {RESET} tcp dport 443 reject with tcp reset")
    options = [*command[7:], "--timeout", "2", "--target", RESET, "--target", world.EXACT]
    program = (
        "import sys; from connectivity_check.cli import main\n"
        f"code = main({options!r})\n"
        "print([each for each in sys.modules if each.partition('.')[0] == 'scapy'], file=sys.stderr)\n"
        "sys.exit(code)"
    )
    done = module_lab.device.run([*command[:4], sys.executable, "-c", program], timeout=30)
    assert (done.returncode, done.stderr) == (1, "[]\n")
