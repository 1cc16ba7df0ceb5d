"""HostInspector: the fake, and files with a kernel of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from isolator.ports import HostFacts, HostInspector
from tests.contract.own_network import OWN4, OWN6, OWN_LINK, RESOLVER4, add_uplink, own_network
from tests.fakes.host_inspector import FakeInspector

FACTS = HostFacts(
    resolvers=(ip_address(RESOLVER4),),
    own_addresses=tuple(ip_address(each) for each in (OWN4, OWN6, OWN_LINK)),
    dhcp_servers=(ip_address("192.0.2.1"),),
)


@pytest.fixture(params=["fake", pytest.param("linux", marks=pytest.mark.netns)])
def inspector(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[HostInspector]:
    if request.param == "fake":
        yield FakeInspector(FACTS)
        return
    from isolator.adapters.host_facts import LinuxHostInspector, Places

    (tmp_path / "resolv.conf").write_text(f"nameserver {RESOLVER4}\n")
    (tmp_path / "2").write_text("ADDRESS=192.0.2.10\nSERVER_ADDRESS=192.0.2.1\n")
    with own_network():
        add_uplink()
        yield LinuxHostInspector(Places(tmp_path / "resolv.conf", (), ((tmp_path, "2"),), ()))


def test_the_facts_of_the_host(inspector: HostInspector) -> None:
    found = inspector.facts()
    assert found.resolvers == FACTS.resolvers
    assert found.dhcp_servers == FACTS.dhcp_servers
    assert set(FACTS.own_addresses) <= set(found.own_addresses)
    assert not any(each.is_loopback for each in found.own_addresses)


def test_facts_do_not_change_by_reading(inspector: HostInspector) -> None:
    assert inspector.facts() == inspector.facts()
