"""Which controls a row asks for: those that tell its failure from the twins of it, and no more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from connectivity_check.core.controls import (
    BODY_BYTES,
    DEFAULT_CONTROL,
    PORTAL_HOST,
    SMALL_MSS,
    UNROUTABLE,
    Ask,
    Control,
    Means,
    failing,
    is_global,
    peer,
    wanted,
)
from connectivity_check.core.known import Known, Pass
from connectivity_check.failure import Seen
from connectivity_check.model import Kind, Observation, ProxyServer, Role, Step, Target
from tests.unit.connectivity_check.core.cases import (
    ADDRESS,
    HOST,
    OTHER_ADDRESS,
    OTHER_HOST,
    PLAIN_TARGET,
    PROXIED,
    PROXY,
    RESOLVER,
    TARGET,
    VIA,
    WELL,
    WELL_PROXIED,
    answered,
    certificate,
    connected,
    resolved,
    saw,
    shaken,
    target,
    tunnelled,
)

SECOND = "10.0.0.54"
CONTROL_RESOLVER = "10.0.0.55"
ELSEWHERE = "20.0.7.7"
FREE = ProxyServer("free.lab.example", 8080)
UNUSED = ProxyServer("other.corp.example", 3128)
MEANS = Means(resolvers=(RESOLVER,))
NOTHING = Known()
OPEN = Known(passes=(Pass(OTHER_HOST, 443, OTHER_ADDRESS, "", "other.test"),))
OPEN_BY_PROXY = Known(passes=(Pass(OTHER_HOST, 443, "10.0.0.80", VIA, "other.test"),))

SILENT = connected(seen=Seen.TIMEOUT)
REFUSED = connected(seen=Seen.CONNECTION_REFUSED)
TO_PROXY = WELL_PROXIED[0]
NXDOMAIN = resolved(seen=Seen.DNS_NXDOMAIN)


def asked(
    *seen: Observation, row: Target = TARGET, run: Known = NOTHING, means: Means = MEANS
) -> tuple[Control, ...]:
    """Give the controls for a row that saw this so far."""
    found = wanted(row, seen, run, means)
    assert len(set(found)) == len(found), "nothing is asked for twice"
    return found


def roles(controls: Iterable[Control]) -> list[str]:
    """Give what is asked for in short: role and deed."""
    return [f"{each.role} {each.ask}" for each in controls]


def one(controls: Iterable[Control], role: Role, ask: Ask | None = None) -> Control:
    """Give the one control of a role."""
    (found,) = [each for each in controls if each.role is role and ask in (None, each.ask)]
    return found


PORTAL = Control(Role.PORTAL, Ask.REQUEST, name=PORTAL_HOST, port=80, shared=True)


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        pytest.param((), None, id="nothing yet"),
        pytest.param(WELL, None, id="well"),
        pytest.param((NXDOMAIN,), NXDOMAIN, id="no name"),
        pytest.param((NXDOMAIN, *WELL[1:]), NXDOMAIN, id="the first step that failed"),
        pytest.param((SILENT, connected()), None, id="one of two addresses accepts"),
        pytest.param((*WELL[:1], replace(REFUSED, role=Role.RETRY)), None, id="a control that failed"),
        pytest.param(
            (SILENT, connected("20.0.0.2", seen=Seen.HOST_UNREACHABLE, icmp={"code": 13}), REFUSED),
            connected("20.0.0.2", seen=Seen.HOST_UNREACHABLE, icmp={"code": 13}),
            id="an ICMP error tells most",
        ),
        pytest.param((SILENT, REFUSED), REFUSED, id="a refusal tells more than silence"),
        pytest.param(
            (connected("2a00::1", seen=Seen.TIMEOUT), SILENT), SILENT, id="of two silences that of IPv4"
        ),
        pytest.param(
            (connected("2a00::1", seen=Seen.NETWORK_UNREACHABLE), SILENT), SILENT, id="no IPv6 tells nothing"
        ),
    ],
)
def test_the_observation_that_ended_the_chain(
    seen: tuple[Observation, ...], expected: Observation | None
) -> None:
    assert failing(seen) == expected


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (WELL, ADDRESS),
        ((SILENT, connected("20.0.0.2")), "20.0.0.2"),
        ((SILENT,), ""),
        ((connected(), shaken(Seen.TIMEOUT, address="20.0.0.2")), "20.0.0.2"),
        ((saw(Step.CONNECT, address=7),), ""),
        ((answered(address="20.0.0.3"), connected()), "20.0.0.3"),
        ((), ""),
    ],
)
def test_the_address_the_chain_went_on_with(seen: tuple[Observation, ...], expected: str) -> None:
    assert peer(seen) == expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (ADDRESS, True),
        ("2a00::1", True),
        ("10.0.0.1", False),
        ("192.0.2.1", False),
        ("::1", False),
        ("a.example", False),
        ("", False),
    ],
)
def test_addresses_that_a_public_server_can_have(address: str, expected: bool) -> None:
    assert is_global(address) is expected


class TestWell:
    """A row that is well asks for what else its clients do."""

    def test_nothing(self) -> None:
        assert asked() == ()
        assert asked(*WELL) == ()
        assert asked(*WELL[:2]) == (), "the row is not done"

    def test_an_opaque_port(self) -> None:
        row = target(port=9000, kind=Kind.OPAQUE)
        expected = Control(Role.UNROUTABLE, Ask.CONNECT, address=UNROUTABLE, port=9000, shared=True)
        assert asked(connected(port=9000), row=row) == (expected,)
        assert asked(row=row) == ()
        assert asked(connected(port=9000), row=replace(row, route=PROXIED.route)) == ()

    @pytest.mark.parametrize(
        ("extra", "expected"),
        [
            ("h2", Control(Role.ALPN, Ask.HANDSHAKE, HOST, ADDRESS, variant="h2")),
            ("upload", Control(Role.BODY, Ask.REQUEST, HOST, ADDRESS, body_size=BODY_BYTES)),
            ("ranges", Control(Role.RANGE, Ask.REQUEST, HOST, ADDRESS, range="bytes=0-0")),
        ],
    )
    def test_extras(self, extra: str, expected: Control) -> None:
        assert asked(*WELL, row=target(**{extra: True})) == (expected,)
        assert asked(*WELL[:3], row=target(**{extra: True})) == (expected,), "a handshake is enough"
        assert asked(*WELL[:2], row=target(**{extra: True})) == (), "a connection is not"
        proxied = asked(*WELL_PROXIED, row=target(proxy=PROXY, **{extra: True}))
        assert proxied == (replace(expected, proxy=PROXY, address="10.0.0.80"),)

    @pytest.mark.parametrize(("extra", "role"), [("upload", Role.BODY), ("ranges", Role.RANGE)])
    def test_an_extra_that_failed_is_asked_again_once(self, extra: str, role: Role) -> None:
        row = target(**{extra: True})
        failed = answered(Seen.TIMEOUT, role=role)
        assert [each.nth for each in asked(*WELL, failed, row=row)] == [1, 2]
        assert [each.nth for each in asked(*WELL, failed, failed, row=row)] == [1, 2]
        assert [each.nth for each in asked(*WELL, answered(role=role), row=row)] == [1]

    def test_a_wildcard_is_tried_by_a_random_label(self) -> None:
        row, means = target(wildcard="vendor.example"), replace(MEANS, random_label="qzxjkvbwpfgm")
        expected = Control(Role.RANDOM_LABEL, Ask.HANDSHAKE, "qzxjkvbwpfgm.vendor.example", ADDRESS)
        assert asked(*WELL, row=row, means=means) == (expected,)
        assert asked(*WELL, row=row) == (), "there is no label"
        plain = target(port=80, kind=Kind.PLAIN, wildcard="vendor.example")
        assert asked(*WELL[:2], answered(), row=plain, means=means) == ()

    def test_a_random_label_that_fails_is_held_against_another_name(self) -> None:
        row, means = target(wildcard="vendor.example"), replace(MEANS, random_label="qzx")
        cut = shaken(Seen.CONNECTION_RESET, role=Role.RANDOM_LABEL)
        found = asked(*WELL, cut, row=row, means=means, run=OPEN)
        assert roles(found) == ["random_label handshake"] * 2 + ["control_sni handshake"]
        assert found[-1] == Control(Role.CONTROL_SNI, Ask.HANDSHAKE, OTHER_HOST, ADDRESS)
        assert roles(asked(*WELL, cut, row=row, means=means)) == ["random_label handshake"] * 2
        good = shaken(role=Role.RANDOM_LABEL)
        assert roles(asked(*WELL, good, row=row, means=means, run=OPEN)) == ["random_label handshake"]

    def test_a_wildcard_through_a_proxy_is_tried_by_a_tunnel(self) -> None:
        row, means = target(proxy=PROXY, wildcard="vendor.example"), replace(MEANS, random_label="qzx")
        expected = Control(Role.RANDOM_LABEL, Ask.TUNNEL, "qzx.vendor.example", proxy=PROXY)
        assert asked(*WELL_PROXIED, row=row, means=means) == (expected,)

    def test_a_second_syn_is_looked_into_alone(self) -> None:
        late = (WELL[0], connected(syns=2), *WELL[2:])
        assert asked(*late) == (Control(Role.RETRY, Ask.CONNECT, address=ADDRESS, alone=True),)
        assert asked(WELL[0], connected(syns=1), *WELL[2:]) == ()
        assert asked(*late, row=PROXIED) == ()


class TestNoName:
    """A name that does not resolve."""

    def test_an_answer_is_waited_for_again(self) -> None:
        assert asked(NXDOMAIN) == (
            Control(Role.RETRY, Ask.RESOLVE, HOST, linger=True),
            Control(Role.UNROUTABLE, Ask.RESOLVE, HOST, server=UNROUTABLE),
            Control(Role.GETADDRINFO, Ask.LOOK_UP, HOST),
        )

    def test_silence_is_asked_over_tcp(self) -> None:
        found = asked(resolved(seen=Seen.TIMEOUT))
        assert one(found, Role.DNS_TCP) == Control(Role.DNS_TCP, Ask.RESOLVE, HOST, tcp=True)
        assert "retry resolve" not in roles(found)

    @pytest.mark.parametrize(
        ("resolvers", "server"),
        [
            ((), None),
            ((RESOLVER,), None),
            ((RESOLVER, SECOND), SECOND),
            ((RESOLVER, SECOND, CONTROL_RESOLVER), CONTROL_RESOLVER),
            ((SECOND, RESOLVER), SECOND),
        ],
    )
    def test_a_second_opinion_comes_from_another_resolver(
        self, resolvers: tuple[str, ...], server: str | None
    ) -> None:
        found = [each for each in asked(NXDOMAIN, means=Means(resolvers)) if each.role is Role.OTHER_RESOLVER]
        assert [each.server for each in found] == ([server] if server else [])

    def test_the_system_is_not_asked_when_it_was(self) -> None:
        found = asked(NXDOMAIN, resolved(role=Role.GETADDRINFO, seen=Seen.DNS_NXDOMAIN))
        assert "getaddrinfo look_up" not in roles(found)

    def test_a_recorded_row_without_the_name_asks_for_the_host(self) -> None:
        found = asked(saw(Step.RESOLVE, Seen.DNS_NXDOMAIN))
        assert {each.name for each in found} == {HOST}

    def test_the_name_of_a_proxy(self) -> None:
        found = asked(resolved(seen=Seen.DNS_NXDOMAIN, name=PROXY.host), row=PROXIED)
        assert {each.name for each in found} == {PROXY.host}, (
            "nothing is asked through a proxy without address"
        )
        by_pac = replace(resolved(seen=Seen.DNS_NXDOMAIN, name=PROXY.host), via=VIA)
        assert "alternate chain" in roles(asked(by_pac, row=PROXIED))


class TestNoConnection:
    """Addresses that do not accept."""

    def test_silence(self) -> None:
        assert asked(WELL[0], SILENT) == (
            Control(Role.RETRY, Ask.CONNECT, address=ADDRESS, alone=True),
            Control(Role.OTHER_PORT, Ask.CONNECT, address=ADDRESS, port=80),
            Control(Role.HOPS, Ask.HOPS, address=ADDRESS),
            Control(Role.RETRY, Ask.RESOLVE, HOST, linger=True),
            PORTAL,
        )

    def test_the_other_port_of_port_80(self) -> None:
        found = asked(connected(seen=Seen.TIMEOUT, port=80), row=PLAIN_TARGET)
        assert one(found, Role.OTHER_PORT).port == 443

    def test_a_reset_is_measured(self) -> None:
        here = Control(Role.TTL, Ask.DISTANCE, address=ADDRESS)
        other_port = Control(Role.OTHER_PORT, Ask.CONNECT, address=ADDRESS, port=80)
        hops = Control(Role.HOPS, Ask.HOPS, address=ADDRESS)
        assert asked(REFUSED) == (other_port, here, PORTAL)
        accepts = connected(role=Role.OTHER_PORT, port=80)
        assert asked(REFUSED, accepts, run=OPEN) == (
            other_port, here, Control(Role.TTL, Ask.DISTANCE, address=ADDRESS, port=80), hops, PORTAL,
        )  # fmt: skip
        refuses = replace(accepts, seen=Seen.CONNECTION_REFUSED)
        assert asked(REFUSED, refuses, run=OPEN) == (
            other_port, here, Control(Role.TTL, Ask.DISTANCE, address=OTHER_ADDRESS), hops, PORTAL,
        )  # fmt: skip
        assert asked(REFUSED, refuses) == (other_port, here, hops, PORTAL), "nobody passes"
        unknown = Known(passes=(replace(OPEN.passes[0], address=""),))
        assert asked(REFUSED, refuses, run=unknown) == (other_port, here, hops, PORTAL)

    @pytest.mark.parametrize(
        "seen",
        [
            connected(seen=Seen.CONNECTION_REFUSED, icmp={"code": 3}),
            connected(seen=Seen.HOST_UNREACHABLE),
            connected(seen=Seen.PERMISSION_DENIED),
        ],
    )
    def test_an_end_that_says_enough(self, seen: Observation) -> None:
        assert asked(seen) == (PORTAL,)

    def test_addresses_of_another_resolver_are_tried(self) -> None:
        means = Means((RESOLVER, SECOND))
        question = Control(Role.OTHER_RESOLVER, Ask.RESOLVE, HOST, server=SECOND)
        assert question in asked(WELL[0], SILENT, means=means)
        there = Control(Role.OTHER_RESOLVER, Ask.HANDSHAKE, HOST, ELSEWHERE)
        other = resolved(ELSEWHERE, role=Role.OTHER_RESOLVER, resolver=SECOND)
        assert there in asked(WELL[0], SILENT, other, means=means)
        again = resolved(ELSEWHERE, role=Role.RETRY)
        assert there in asked(WELL[0], SILENT, again, means=means), "the same resolver says another thing"
        assert roles(asked(WELL[0], SILENT, other, again, means=means)).count("other_resolver handshake") == 1

    @pytest.mark.parametrize("address", [ADDRESS, "10.9.9.9", "192.0.2.7", "no address"])
    def test_an_address_that_shows_nothing_is_not_tried(self, address: str) -> None:
        other = resolved(address, role=Role.OTHER_RESOLVER, resolver=SECOND)
        assert "other_resolver handshake" not in roles(asked(WELL[0], SILENT, other))

    def test_only_tls_shows_whose_the_address_is(self) -> None:
        other = resolved(ELSEWHERE, role=Role.OTHER_RESOLVER, resolver=SECOND)
        found = asked(WELL[0], connected(seen=Seen.TIMEOUT, port=80), other, row=PLAIN_TARGET)
        assert "other_resolver handshake" not in roles(found)

    def test_a_literal_address_has_no_name_to_ask_for(self) -> None:
        found = asked(resolved(ADDRESS, transport="literal"), SILENT, row=target(ADDRESS))
        assert not [each for each in found if each.ask is Ask.RESOLVE]

    def test_a_proxy_that_cannot_be_connected_to(self) -> None:
        found = asked(connected("10.0.0.80", seen=Seen.TIMEOUT, via=VIA, port=3128), row=PROXIED)
        assert found == (Control(Role.ALTERNATE, Ask.CHAIN, HOST),)


class TestRefusedByProxy:
    """A proxy that does not open the tunnel."""

    def test_another_name_is_tried(self) -> None:
        found = asked(TO_PROXY, tunnelled(Seen.PROXY_STATUS, status=403), row=PROXIED, run=OPEN_BY_PROXY)
        assert found == (
            Control(Role.CONTROL_NAME, Ask.TUNNEL, OTHER_HOST, proxy=PROXY),
            Control(Role.ALTERNATE, Ask.RESOLVE, HOST),
            Control(Role.ALTERNATE, Ask.CHAIN, HOST),
        )

    def test_a_name_of_last_resort(self) -> None:
        found = asked(TO_PROXY, tunnelled(Seen.EOF), row=PROXIED, run=OPEN)
        assert one(found, Role.CONTROL_NAME).name == DEFAULT_CONTROL, "who passes directly passes another way"
        assert "alternate resolve" not in roles(found), "the end of a connection says nothing of names"

    @pytest.mark.parametrize("port", [80, 443])
    def test_a_port_that_proxies_know(self, port: int) -> None:
        row = target(port=port, proxy=PROXY)
        assert "other_port tunnel" not in roles(asked(TO_PROXY, tunnelled(Seen.PROXY_STATUS), row=row))

    def test_a_port_that_it_may_not_know(self) -> None:
        found = asked(TO_PROXY, tunnelled(Seen.PROXY_STATUS), row=target(port=8443, proxy=PROXY))
        assert one(found, Role.OTHER_PORT) == Control(Role.OTHER_PORT, Ask.TUNNEL, HOST, proxy=PROXY)

    @pytest.mark.parametrize(
        ("here", "expected"),
        [
            (resolved(ADDRESS, role=Role.ALTERNATE), ADDRESS),
            (resolved(role=Role.ALTERNATE, seen=Seen.DNS_NXDOMAIN), None),
            (resolved(role=Role.ALTERNATE), None),
        ],
    )
    def test_the_same_host_by_address(self, here: Observation, expected: str | None) -> None:
        found = asked(TO_PROXY, tunnelled(Seen.TIMEOUT), here, row=PROXIED)
        assert [each.name for each in found if each.role is Role.GOOD_ADDRESS] == (
            [expected] if expected else []
        )

    def test_plain_requests_have_no_tunnel_to_an_address(self) -> None:
        row = target(port=80, kind=Kind.PLAIN, proxy=PROXY)
        here = resolved(ADDRESS, role=Role.ALTERNATE)
        found = asked(TO_PROXY, answered(Seen.HTTP_STATUS, via=VIA), here, row=row)
        assert roles(found) == ["control_name tunnel", "alternate resolve", "alternate chain"]


class TestNoHandshake:
    """A connection that does not come to TLS."""

    def test_silence(self) -> None:
        found = asked(*WELL[:2], shaken(Seen.TIMEOUT), run=OPEN)
        same = Control(Role.RETRY, Ask.HANDSHAKE, HOST, ADDRESS)
        assert found == (
            replace(same, role=Role.CONTROL_SNI, name=OTHER_HOST),
            same,
            replace(same, nth=2),
            replace(same, role=Role.GOOD_ADDRESS, address=OTHER_ADDRESS),
            replace(same, role=Role.SMALL_MSS, mss=SMALL_MSS),
            Control(Role.UNROUTABLE, Ask.CONNECT, address=UNROUTABLE, shared=True),
            replace(same, role=Role.TLS12, variant="tls12"),
            Control(Role.RETRY, Ask.RESOLVE, HOST, linger=True),
            PORTAL,
        )

    @pytest.mark.parametrize("seen", [Seen.CONNECTION_RESET, Seen.EOF])
    def test_a_cut(self, seen: Seen) -> None:
        found = asked(connected(), shaken(seen))
        assert roles(found) == [
            "control_sni handshake", "retry handshake", "retry handshake", "tls12 handshake",
            "tls_legacy handshake", "portal request",
        ]  # fmt: skip
        assert found[0].name == DEFAULT_CONTROL
        assert one(found, Role.TLS_LEGACY).variant == "legacy"

    def test_an_alert_is_about_versions(self) -> None:
        found = asked(connected(), shaken(Seen.TLS_ALERT, alert=70))
        assert roles(found) == ["tls12 handshake", "tls_legacy handshake", "portal request"]

    def test_what_is_no_tls(self) -> None:
        assert asked(connected(), shaken(Seen.NOT_TLS)) == (PORTAL,)

    def test_a_certificate_is_evidence_itself(self) -> None:
        wrong = shaken(Seen.TLS_UNKNOWN_AUTHORITY, chain=[certificate()])
        assert asked(connected(), wrong) == (PORTAL,)

    def test_inside_a_tunnel(self) -> None:
        cut = shaken(Seen.TIMEOUT, via=VIA, address="10.0.0.80")
        found = asked(*WELL_PROXIED[:2], cut, row=PROXIED, run=OPEN_BY_PROXY)
        assert roles(found) == [
            "control_sni handshake", "retry handshake", "retry handshake", "tls12 handshake", "alternate chain",
        ]  # fmt: skip
        shakes = [each for each in found if each.ask is Ask.HANDSHAKE]
        assert {(each.proxy, each.tunnel_to) for each in shakes} == {(PROXY, HOST)}
        assert found[0].name == OTHER_HOST, "another server name in the tunnel to the same host"


class TestOtherWays:
    """The same target by another way."""

    def test_an_answer_that_is_not_the_services(self) -> None:
        assert asked(*WELL[:3], answered(Seen.HTTP_CONTENT)) == (PORTAL,)

    @pytest.mark.parametrize(
        ("row", "means", "expected"),
        [
            (TARGET, MEANS, []),
            (TARGET, Means(other_proxies=(UNUSED, FREE)), [(Role.ALTERNATE, UNUSED)]),
            (PROXIED, Means(other_proxies=(UNUSED,)), [(Role.ALTERNATE, None)]),
            (TARGET, Means(control_proxy=FREE), [(Role.CONTROL_PATH, FREE)]),
            (PROXIED, Means(control_proxy=FREE), [(Role.ALTERNATE, None), (Role.CONTROL_PATH, FREE)]),
        ],
    )
    def test_ways(self, row: Target, means: Means, expected: list[Any]) -> None:
        found = asked(*WELL[:3], answered(Seen.HTTP_CONTENT), row=row, means=means)
        assert [(each.role, each.proxy) for each in found if each.ask is Ask.CHAIN] == expected
        assert {(each.name, each.port) for each in found if each.ask is Ask.CHAIN} <= {(HOST, 443)}
