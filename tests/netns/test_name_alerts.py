"""Data in the names asked for under a listed wildcard is held under a rate, and the operator is told."""

from __future__ import annotations

import pytest

from tests.e2e import orders
from tests.e2e.own_list import Row, write_list
from tests.lab import Host, Lab

pytestmark = [pytest.mark.netns, pytest.mark.timeout(120)]

ZONE = "fleet.vendor.example"
LONG = "x" * 60


def test_a_tunnel_in_names_is_stopped_and_told(lab: Lab) -> None:
    names = [f"{number:03}{LONG}.{LONG}.{ZONE}" for number in range(60)]
    lab.resolver.put(*(Host(name, ("20.91.0.1",)) for name in names))
    policy = write_list(lab.directory / "own.yaml", [Row(f"*.{ZONE}", 443)])
    reach = lab.reach_from(lab.device, timeout_s=5)
    with lab.agent(f"lists: [{policy}]\n") as agent:
        orders.isolate(agent)
        assert orders.status(agent)["alerts"] == []
        answers = [reach.dns(name).ok for name in names]
        assert answers[0]
        assert not answers[-1]
        refused = answers.count(False)
        (alert,) = orders.status(agent)["alerts"]
        assert (alert["reason"], alert["entry"], alert["pattern"], alert["count"]) == (
            "dns_label_payload", "own#1", f"*.{ZONE}", refused,
        )  # fmt: skip
        assert f"ALERT     dns_label_payload under *.{ZONE}" in agent.isolator("status").stdout
        assert agent.log.read_text().count("alert dns_label_payload") == refused.bit_length()
        orders.release(agent)
        assert orders.status(agent)["alerts"] == []
