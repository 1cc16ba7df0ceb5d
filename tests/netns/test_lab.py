"""The lab works: names resolve, TLS verifies, both families, everybody reaches whom they should."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from tests.lab import Host, Lab, LabError, world
from tests.lab.ports import ECHO, STREAM, STREAM_WORD
from tests.lab.reach import Reach
from tests.lab.topology import UPLINK
from tests.lab.zone import REFUSED

pytestmark = pytest.mark.netns

FAMILIES = pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["v4", "v6"])
NAMES = (world.EXACT, world.WILDCARD, world.CHAINED, world.ROTATING, world.UNLISTED, world.UNLISTED_SHARED)


def qtype(family: int) -> str:
    return "AAAA" if family == socket.AF_INET6 else "A"


@FAMILIES
@pytest.mark.parametrize("name", NAMES)
def test_a_name_resolves_and_its_server_is_verified(module_lab: Lab, name: str, family: int) -> None:
    assert module_lab.reach.dns(name, qtype(family)).ok
    assert module_lab.reach.tls(name, family=family).detail == f"lab {name}"


def test_every_name_of_the_world_resolves_in_both_families(module_lab: Lab) -> None:
    names = (*world.LISTED_HOSTS, *world.UNLISTED_HOSTS, f"payload.of.a.tunnel.{world.TUNNEL_ZONE}")
    silent = [(n, q) for n in names for q in ("A", "AAAA") if not module_lab.reach.dns(n, q).ok]
    assert silent == []


def test_a_certificate_of_another_name_is_refused(module_lab: Lab) -> None:
    there = module_lab.reach.dns(world.EXACT).detail
    assert "certificate" in module_lab.reach.tls("nobody.example.com", address=there).detail


def test_the_resolver_answers_over_tcp_and_ipv6(module_lab: Lab) -> None:
    for server in module_lab.reach.resolvers():
        for tcp in (False, True):
            assert module_lab.reach.dns(world.EXACT, server=server, tcp=tcp).ok, (server, tcp)


def test_an_unknown_name_does_not_exist(module_lab: Lab) -> None:
    assert module_lab.reach.dns("nowhere.example.invalid").detail == "nxdomain"


@FAMILIES
def test_datagrams_and_connections_reach_addresses_without_a_name(module_lab: Lab, family: int) -> None:
    there = world.UNLISTED_ADDRESS.v6 if family == socket.AF_INET6 else world.UNLISTED_ADDRESS.v4
    assert module_lab.reach.tcp(there, family=family).ok
    assert module_lab.reach.udp(there, family=family).ok


@FAMILIES
def test_the_neighbour_is_reached_and_reaches_the_device(module_lab: Lab, family: int) -> None:
    lab = module_lab
    v6 = family == socket.AF_INET6
    neighbour, device = lab.neighbour.addresses, lab.device.addresses
    assert lab.reach.tcp(neighbour.v6 if v6 else neighbour.v4, family=family).ok
    lab.servers.listen(lab.device, [("tcp_echo", 7100 + v6)])
    back = lab.reach_from(lab.neighbour).tcp(device.v6 if v6 else device.v4, 7100 + v6, family=family)
    assert back.ok, back


@FAMILIES
def test_a_container_is_routed_through_the_device(container_lab: Lab, family: int) -> None:
    lab = container_lab
    assert lab.reach_from(lab.container).tls(world.UNLISTED, family=family).ok
    lab.device.write_sysctls({"net/ipv4/ip_forward": "0", "net/ipv6/conf/all/forwarding": "0"})
    stopped = lab.reach_from(lab.container, timeout_s=0.3).tcp(world.UNLISTED_ADDRESS.v4)
    assert not stopped.ok  # there is no way round the device


def test_a_missing_container_is_named(module_lab: Lab) -> None:
    with pytest.raises(RuntimeError, match="no container"):
        _ = module_lab.container


def test_programs_see_the_labs_resolver_and_interfaces(module_lab: Lab) -> None:
    shown = module_lab.device.run(["getent", "ahostsv4", world.EXACT], check=True).stdout
    assert shown.split()[0] == world.listed_addresses(0).v4
    assert set(module_lab.device.interfaces()) == {"lo", UPLINK}
    links = module_lab.device.run(["ip", "-br", "link"], check=True).stdout
    assert {line.split("@")[0].split()[0] for line in links.splitlines()} == {"lo", UPLINK}


def test_a_thread_in_the_device_resolves_there_and_the_caller_stays_outside(module_lab: Lab) -> None:
    outside = Path("/etc/resolv.conf").read_text()

    def look() -> tuple[str, str]:
        return socket.gethostbyname(world.EXACT), Path("/etc/resolv.conf").read_text()

    address, inside = module_lab.device.in_namespace(look, world=True)
    assert address == world.listed_addresses(0).v4
    assert inside != outside
    assert Path("/etc/resolv.conf").read_text() == outside


def test_an_exception_in_the_namespace_reaches_the_caller(module_lab: Lab) -> None:
    def fail() -> None:
        raise LookupError("from inside")

    with pytest.raises(LookupError, match="from inside"):
        module_lab.device.in_namespace(fail)


def test_run_of_the_real_machine_is_out_of_reach(module_lab: Lab) -> None:
    marker = Path("/run") / f"{module_lab.name.stem}-marker"
    module_lab.device.run(["touch", str(marker)], check=True)
    assert not marker.exists()
    assert (
        module_lab.device.run(["ls", str(marker)]).returncode == 0
    )  # and the device's programs share theirs
    assert module_lab.device.run(["wall", "to nobody"]).returncode == 0


def test_standing_connections_go_on_and_streams_flow(module_lab: Lab) -> None:
    there = world.UNLISTED_ADDRESS.v4
    with (
        module_lab.reach.session(there) as tcp,
        module_lab.reach.session(there, kind=socket.SOCK_DGRAM) as udp,
        module_lab.reach.session(there, STREAM) as stream,
    ):
        assert tcp.echoes()
        assert udp.echoes()
        assert tcp.echoes()  # still there
        assert stream.bytes_within(0.2) > len(STREAM_WORD)
        assert tcp.told(0.05) is None


def test_a_cut_connection_is_told(lab: Lab) -> None:
    with (
        lab.reach.session(lab.neighbour.addresses.v4, 22) as tcp,
        lab.reach.session(lab.neighbour.addresses.v4, 9999, kind=socket.SOCK_DGRAM) as udp,
    ):
        assert tcp.echoes()
        lab.servers.close()
        assert not tcp.echoes(0.3)
        assert tcp.told() in ("closed", "ECONNRESET", "EPIPE")
        udp.echoes(0.1)  # to a closed port: the neighbour answers with ICMP
        assert udp.told(0.1) in ("ECONNREFUSED", None)  # the error may have been spent on the send above


def test_names_are_edited_while_the_lab_runs(lab: Lab) -> None:
    lab.resolver.put(Host("fresh.example.com", ("20.70.0.1",), ttl=1), Host("no.example.com", rcode=REFUSED))
    assert lab.reach.dns("fresh.example.com").detail == "20.70.0.1"
    assert lab.reach.dns("FRESH.example.com").ok
    assert lab.reach.dns("fresh.example.com", "AAAA").detail == "no_address"
    assert lab.reach.dns("no.example.com").detail == "refused"
    lab.resolver.drop("fresh.example.com")
    assert lab.reach.dns("fresh.example.com").detail == "nxdomain"


def test_answers_rotate_through_the_pool(lab: Lab) -> None:
    got = [lab.reach.dns(world.ROTATING).detail for _ in range(201)]
    assert len(set(got)) == 200
    assert got[200] == got[0]


def test_the_log_has_what_arrived_and_when(lab: Lab) -> None:
    lab.resolver.clear()
    before = time.monotonic_ns()
    lab.reach.dns("Secret." + world.TUNNEL_ZONE, tcp=True)
    after = time.monotonic_ns()
    (arrival,) = lab.resolver.log()
    assert (arrival.name, arrival.qtype) == (f"secret.{world.TUNNEL_ZONE}", 1)
    assert (arrival.source, arrival.transport) == (lab.device.addresses.v4, "tcp")
    assert before < arrival.at_ns < after
    assert lab.resolver.arrived() == 1


def test_a_new_certificate_and_port_are_served(lab: Lab) -> None:
    lab.resolver.put(Host("late.example.com", ("20.70.0.2",)))
    assert "certificate" in lab.reach.tls("late.example.com").detail
    lab.servers.present(lab.authority.issue("late", ["late.example.com"]))
    assert lab.reach.tls("late.example.com").ok
    assert lab.reach.tcp(world.UNLISTED_ADDRESS.v4, 31337).detail == "ECONNREFUSED"
    lab.servers.listen(lab.internet, [("tcp_echo", 31337)])
    assert lab.reach.tcp(world.UNLISTED_ADDRESS.v4, 31337).ok


def test_a_taken_port_is_an_error_and_the_servers_go_on(lab: Lab) -> None:
    with pytest.raises(LabError, match=r"lab\.service_refused"):
        lab.servers.listen(lab.internet, [("tcp_echo", ECHO)])
    assert lab.reach.tcp(world.UNLISTED_ADDRESS.v4).ok


def test_another_resolver_or_none_can_be_set(lab: Lab) -> None:
    lab.set_resolvers([lab.router.addresses.v6])
    assert lab.reach.resolvers() == (lab.router.addresses.v6,)
    assert lab.device.run(["getent", "ahostsv4", world.EXACT]).returncode == 0
    lab.set_resolvers([world.UNLISTED_ADDRESS.v4])
    assert lab.device.run(["getent", "ahostsv4", world.EXACT]).returncode != 0


def test_a_stopped_resolver_is_a_closed_port(lab: Lab) -> None:
    lab.resolver.close()
    assert lab.reach.dns(world.EXACT).detail == "ECONNREFUSED"
    with pytest.raises(LabError, match=r"lab\.service_ended"):
        lab.resolver.log()


def test_what_is_filtered_times_out(lab: Lab) -> None:
    rules = "table inet t {\nchain o { type filter hook output priority 0; policy drop; }\n}\n"
    lab.device.run(["nft", "-f", "-"], stdin=rules, check=True)
    probe = Reach(lab.device, lab.ca_pem, timeout_s=0.2)
    assert probe.tcp(world.UNLISTED_ADDRESS.v4).detail == "timeout"
    assert probe.udp(world.UNLISTED_ADDRESS.v4).detail == "EPERM"
    assert probe.dns(world.EXACT).detail == "EPERM"
