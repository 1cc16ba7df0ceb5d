"""P8: the control channel cannot cut itself: looked at before the kernel is touched, tried for real after it."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from isolator.model.failure import FailureCode, IsolatorError
from tests.e2e import orders
from tests.e2e.own_list import Row, write_list
from tests.lab import Host, Lab, world

pytestmark = pytest.mark.netns

_NETFILTER, _NFTABLES_GROUP, _SO_RCVBUFFORCE = 12, 7, 33
NAME, ADDRESS, PORT = "control.vendor.example", "20.99.0.1", 8443
SILENT = "20.99.0.66"
BY_ADDRESS = f"control_channel: [{{address: {ADDRESS}, port: {PORT}}}]\n"
BY_NAME = f"control_channel: [{{host: {NAME}, port: {PORT}}}]\n"
BY_SILENT = f"control_channel: [{{address: {SILENT}, port: {PORT}}}]\n"
SILENCE = f"""
table ip silence {{
    chain c {{ type filter hook forward priority 0; policy accept; ip daddr {SILENT} drop; }}
}}
"""


@pytest.fixture(scope="module")
def shared() -> Iterator[Lab]:
    with Lab() as lab:
        lab.resolver.put(Host(NAME, (ADDRESS,)))
        lab.router.run(["nft", "-f", "-"], stdin=SILENCE, check=True)
        yield lab


@pytest.fixture
def monitor(shared: Lab) -> Iterator[Monitor]:
    watch = Monitor(shared)
    yield watch
    watch.close()


class Monitor:
    """Hears of every change of any ruleset in the device (group NFNLGRP_NFTABLES of netlink).

    The kernel tells during the commit: what has happened can be read, nothing is waited for.
    """

    def __init__(self, lab: Lab) -> None:
        self._socket = lab.device.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _NETFILTER
        )
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 1 << 24)
        self._socket.bind((0, 1 << _NFTABLES_GROUP - 1))

    def changes(self) -> int:
        """How many messages about changes there were since the last call."""
        heard = 0
        with contextlib.suppress(BlockingIOError):
            while self._socket.recv(1 << 16):
                heard += 1
        return heard

    def close(self) -> None:
        self._socket.close()


def is_untouched(lab: Lab) -> bool:
    """No rule at all in the device, and everything is reached."""
    empty = not lab.device.run(["nft", "list", "ruleset"], check=True).stdout
    return empty and lab.reach.tcp(world.UNLISTED_ADDRESS.v4).ok


@pytest.mark.parametrize("config", [BY_ADDRESS, BY_NAME], ids=["by_address", "by_name"])
def test_isolation_keeps_it(shared: Lab, config: str, monitor: Monitor) -> None:
    with shared.agent(config) as agent, shared.reach.session(ADDRESS, PORT) as old:
        outcome = agent.isolator("isolate", "--json")
        assert outcome.exit_code == 0, outcome.stderr
        assert outcome.json()["status"]["control_channel"]["ok"] is True
        assert shared.reach.connect(ADDRESS, PORT).ok
        assert old.told(0.05) is None
        assert not shared.reach.connect(ADDRESS, 80).ok, "the host is open at the control channel's port only"
        assert not shared.reach.tcp(world.UNLISTED_ADDRESS.v4).ok
        assert monitor.changes(), "control of the monitor: it sees an isolation"
        orders.release(agent)


def test_a_name_without_an_address_is_refused_before_the_kernel_is_touched(
    shared: Lab, monitor: Monitor
) -> None:
    with shared.agent(BY_NAME.replace(NAME, "nowhere.vendor.example")) as agent:
        outcome = agent.isolator("isolate")
        assert outcome.exit_code == 2
        assert_one_sentence(outcome.stderr, "nowhere.vendor.example:8443")
        assert monitor.changes() == 0
        assert orders.status(agent)["state"] == "connected"
    assert is_untouched(shared)


def test_a_silent_one_is_rolled_back(shared: Lab, monitor: Monitor) -> None:
    """The rules were right, yet nobody answers: seconds later the host is as it was, and the exit code says so."""
    with shared.agent(BY_SILENT) as agent:
        outcome = agent.isolator("isolate")
        assert outcome.exit_code == 1
        assert_one_sentence(outcome.stderr, SILENT, "rolled back")
        assert monitor.changes(), "it was tried for real"
        assert orders.status(agent)["state"] == "connected"
        assert is_untouched(shared)
    with shared.agent(BY_SILENT) as restarted:
        assert orders.status(restarted)["state"] == "connected"


def test_with_stay_the_host_stays_isolated(shared: Lab) -> None:
    with shared.agent(BY_SILENT) as agent:
        outcome = agent.isolator("isolate", "--stay", "--json")
        assert outcome.exit_code == 0, outcome.stderr
        assert outcome.json()["status"]["control_channel"]["ok"] is False
        assert not shared.reach.tcp(world.UNLISTED_ADDRESS.v4).ok
        orders.release(agent)
    assert is_untouched(shared)


def test_an_update_that_silences_it_leaves_the_isolation_before(shared: Lab) -> None:
    """Never less isolated than before, and not by the new list either."""
    first = write_list(shared.directory / "first.yaml", (Row("20.90.0.0/24", 7),))
    second = write_list(shared.directory / "second.yaml", (Row("20.91.0.0/24", 7),))
    with shared.agent(BY_ADDRESS) as agent:
        orders.isolate(agent, first)
        agent.config.write_text(BY_SILENT)
        with pytest.raises(IsolatorError) as refused:
            orders.isolate(agent, second)
        assert refused.value.code is FailureCode.CONTROL_CHANNEL_SILENT
        found = orders.status(agent)
        assert (found["state"], found["enforcement"]["verified"]) == ("isolated", True)
        assert [each["id"] for each in found["lists"]] == ["first"]
        assert shared.reach.tcp("20.90.0.1").ok
        assert not shared.reach.tcp("20.91.0.1").ok
        assert shared.reach.connect(ADDRESS, PORT).ok
        orders.release(agent)


def assert_one_sentence(text: str, *words: str) -> None:
    """One line for a person, no traceback."""
    assert text.startswith("isolator: ")
    assert text.count("\n") == 1
    assert "Traceback" not in text
    for word in words:
        assert word in text
