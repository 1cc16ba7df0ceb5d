"""P9: release leaves exactly what was there; isolation itself touches nobody else's rules.

The device has rules of others in every family: sets, maps, counters, nat, comments, and rules that
iptables-nft keeps. They are compared byte for byte, handles and counter values included.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e import orders
from tests.lab import Lab, world
from tests.lab.agent import Agent
from tests.lab.namespace import Namespace
from tests.lab.ports import ECHO

pytestmark = pytest.mark.netns

CYCLES = 50
FOREIGN = """
table inet corp {
    comment "of the organisation, do not touch"
    counter spoofed { packets 17 bytes 1024 }
    quota monthly { over 25 mbytes used 3 mbytes }
    set blocked { type ipv4_addr; flags interval; elements = { 198.51.100.0/24, 203.0.113.7 comment "INC-1" } }
    set recent { type ipv6_addr . inet_service; size 100; flags dynamic; }
    map doors { type inet_service : verdict; elements = { 8081 : accept, 8082 : drop } }
    map towards { type ipv4_addr : ipv4_addr; elements = { 198.51.100.1 : 198.51.100.2 } }
    chain vetted { ip saddr @blocked counter name spoofed drop comment "by the SOC"; }
    chain inbound {
        type filter hook input priority filter; policy accept;
        tcp dport vmap @doors
        tcp dport 9999 ct state new limit rate 5/second counter packets 3 bytes 180 accept
        meta mark 0x1f jump vetted
    }
}
table ip nat4 {
    chain out { type nat hook postrouting priority srcnat; policy accept; ip daddr 198.51.100.0/24 masquerade; }
    chain in { type nat hook prerouting priority dstnat; policy accept; tcp dport 9998 dnat to 192.168.50.10:22; }
}
table ip6 six {
    chain c { type filter hook forward priority -300; policy drop; ip6 daddr 2001:db8::/32 accept; }
}
table arp neighbours {
    chain c { type filter hook input priority 0; policy accept; arp operation 99 drop; }
}
table bridge br {
    chain c { type filter hook forward priority 0; policy accept; ether type 0x88b5 drop; }
}
table netdev early {
    chain c { type filter hook ingress device "eth0" priority -500; policy accept; ip protocol 253 drop; }
}
"""
LEGACY = (
    ("iptables-nft", "-A", "INPUT", "-s", "198.51.100.9", "-m", "comment", "--comment", "old", "-j", "DROP"),
    ("iptables-nft", "-t", "nat", "-A", "OUTPUT", "-p", "tcp", "--dport", "9997", "-j", "REDIRECT"),
    (
        "iptables-nft",
        "-t",
        "mangle",
        "-A",
        "OUTPUT",
        "-p",
        "udp",
        "--dport",
        "9996",
        "-j",
        "MARK",
        "--set-mark",
        "7",
    ),
    ("ip6tables-nft", "-N", "f2b-sshd"),
    ("ip6tables-nft", "-A", "INPUT", "-p", "tcp", "--dport", "9995", "-j", "f2b-sshd"),
)


def rules_of_others(device: Namespace) -> list[Any]:
    """Everything in the kernel that is not in our table, in the kernel's order."""
    listed = json.loads(device.run(["nft", "-j", "list", "ruleset"], check=True).stdout)["nftables"]
    return [item for item in listed if not is_ours(item)]


def is_ours(item: Any) -> bool:
    """Is it our table, or in it?"""
    (kind, body) = next(iter(item.items()))
    return body.get("family") == "inet" and "isolator" in (
        body.get("table"),
        kind == "table" and body["name"],
    )


def traces(device: Namespace) -> dict[str, Any]:
    """What an isolation could leave besides rules: interfaces, routes, settings, queues, marks, files in /run."""

    def said(*command: str) -> str:
        return device.run(command, check=True).stdout

    settings = "grep -rs '' /proc/sys/net || test $? -eq 2"  # some can only be written; one process reads all
    counting = ("nf_conntrack_count", "nr_", "timestamp", "random")
    return {
        "links": said("ip", "-j", "link"),
        "addresses": said("ip", "-j", "addr"),
        "routes": said("ip", "route", "show", "table", "all")
        + said("ip", "-6", "route", "show", "table", "all"),
        "policy routing": said("ip", "rule") + said("ip", "-6", "rule"),
        "qdiscs": said("tc", "qdisc"),
        "settings": [
            line
            for line in said("sh", "-c", settings).splitlines()
            if not any(word in line for word in counting)
        ],
        "queues": said("cat", "/proc/self/net/netfilter/nfnetlink_queue"),
        "marked": [line for line in said("conntrack", "-L", "-m", "0x100000/0x100000").splitlines() if line],
        "files": sorted(said("find", "/run", "-path", "/run/.cgroup", "-prune", "-o", "-print").splitlines()),
    }


def processes(device: Namespace) -> set[int]:
    """Who lives in the device's network namespace."""
    asked = subprocess.run(["ip", "netns", "pids", device.name], capture_output=True, text=True, check=True)
    return {int(pid) for pid in asked.stdout.split()}


@pytest.fixture(scope="module")
def shared() -> Iterator[Lab]:
    """A lab whose device belongs to an organisation with rules of its own."""
    with Lab() as lab:
        lab.device.run(["nft", "-f", "-"], stdin=FOREIGN, check=True)
        for command in LEGACY:
            lab.device.run(command, check=True)
        assert lab.reach.tls(world.EXACT).ok  # neighbours are found, so that nothing changes by itself
        yield lab


def test_the_foreign_rules_are_really_there(shared: Lab) -> None:
    """Control of the comparison: all families, and a change of one counter would be seen."""
    before = rules_of_others(shared.device)
    tables = {(i["table"]["family"], i["table"]["name"]) for i in before if "table" in i}
    assert {family for family, _ in tables} == {"inet", "ip", "ip6", "arp", "bridge", "netdev"}
    assert {("ip", "filter"), ("ip", "nat"), ("ip", "mangle"), ("ip6", "filter")} <= tables
    shared.device.run(["nft", "reset", "counter", "inet", "corp", "spoofed"], check=True)
    assert rules_of_others(shared.device) != before


def test_fifty_cycles_leave_everything_of_others_as_it_was(shared: Lab) -> None:
    device = shared.device
    with shared.agent() as agent:
        before, around = rules_of_others(device), traces(device)
        for number in range(CYCLES):
            orders.isolate(agent, "streamlined" if number % 2 else "standard")
            if number % 10 == 0:
                orders.isolate(agent, "standard" if number % 2 else "streamlined")
                assert not shared.reach.tcp(world.UNLISTED_ADDRESS.v4, ECHO).ok
            assert rules_of_others(device) == before, f"while isolated, cycle {number}"
            orders.release(agent)
            assert rules_of_others(device) == before, f"after cycle {number}"
        listed = json.loads(device.run(["nft", "-j", "list", "ruleset"], check=True).stdout)["nftables"]
        assert listed == before, "something of ours is left"
        after = traces(device)
    told = [f for f in after["files"] if f not in around["files"]]
    assert told == ["/run/motd.d", "/run/motd.d/isolator"], (
        "the person is told of the release there, nothing else"
    )
    after["files"] = around["files"]
    assert after == around


def test_an_agent_that_was_started_for_the_order_is_gone_after_release(shared: Lab) -> None:
    device = shared.device
    agent: Agent = shared.agent()
    before, around, alive = rules_of_others(device), traces(device), processes(device)
    isolated = agent.isolator("isolate", "--json")
    assert isolated.exit_code == 0, isolated.stderr
    assert len(processes(device) - alive) == 1
    assert traces(device)["queues"]
    released = agent.isolator("release", "--json")
    assert released.exit_code == 0, released.stderr
    wait_until_gone(device, alive)
    assert not agent.socket.exists()
    assert rules_of_others(device) == before
    after = traces(device)
    assert after["queues"] == ""
    assert after == around


def wait_until_gone(device: Namespace, alive: set[int]) -> None:
    """Wait, not for ever, until only those of before live in the namespace."""
    deadline = time.monotonic() + 10
    while (left := processes(device) - alive) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert left == set()
