"""From an order to the policy it means."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from allowlists.files import load
from allowlists.model import Match
from isolator.model.config import AgentConfig, ControllerSettings
from isolator.model.failure import FailureCode, IsolatorError
from isolator.model.flow import Destination, Transport
from isolator.model.order import IsolationOrder, IsolationScope
from isolator.model.policy import ControlEndpoint, Direction, Exclusion
from isolator.ports import HostFacts
from isolator.service.policy_builder import (
    BuiltPolicy,
    build_policy,
    control_endpoints,
    fixed_control_doors,
    names_to_resolve,
)

FACTS = HostFacts((ip_address("192.0.2.53"),), (ip_address("192.0.2.10"),), (ip_address("192.0.2.67"),))
SELECTIVE = IsolationOrder(IsolationScope.SELECTIVE)


def build(order: IsolationOrder | None = None, facts: HostFacts = FACTS, **config: object) -> BuiltPolicy:
    return build_policy(order or IsolationOrder(), AgentConfig(**config), facts, load)  # type: ignore[arg-type]


def refusal(order: IsolationOrder | None = None, facts: HostFacts = FACTS, **config: object) -> IsolatorError:
    with pytest.raises(IsolatorError) as caught:
        build(order, facts, **config)
    assert "\n" not in caught.value.sentence
    return caught.value


def patterns(built: BuiltPolicy) -> set[str]:
    return {entry.pattern for entry in built.policy.entries}


def test_full_isolation_keeps_what_a_responder_needs() -> None:
    built = build()
    assert {"*.endpoint.security.microsoft.com", "crl.microsoft.com"} <= patterns(built)
    assert "login.microsoftonline.com" not in patterns(built)
    assert ip_network("20.15.141.0/24") in {each.network for each in built.policy.networks}
    assert built.policy.resolvers == FACTS.resolvers
    assert [server.address for server in built.policy.dhcp_servers] == list(FACTS.dhcp_servers)
    assert [each.id for each in built.lists] == ["mde-streamlined-commercial"]


def test_the_profile_all_opens_every_row() -> None:
    assert "login.microsoftonline.com" in patterns(build(IsolationOrder(profile="all")))


def test_a_geography_leaves_the_others_shut() -> None:
    built = build(IsolationOrder(lists=("standard",), geo=("EU",)))
    assert "winatp-gw-neu.microsoft.com" in patterns(built)
    assert "winatp-gw-cus.microsoft.com" not in patterns(built)


def test_selective_adds_collaboration_and_exclusions() -> None:
    exclusion = Exclusion("wiki", Direction.OUT, Transport.TCP, 443, pattern="*.wiki.test")
    built = build(SELECTIVE, exclusions=(exclusion,))
    assert {"*.wiki.test", "outlook.office365.com"} <= patterns(built)
    assert built.policy.exclusions == (exclusion,)


@pytest.mark.parametrize(
    "ordered", [(), (Exclusion("b", Direction.OUT, Transport.TCP, 8443, pattern="b.example"),)]
)
def test_the_exclusions_of_an_order_take_the_place_of_the_device_s(ordered: tuple[Exclusion, ...]) -> None:
    own = Exclusion("a", Direction.OUT, Transport.TCP, 443, pattern="a.example")
    built = build(replace(SELECTIVE, exclusions=ordered), exclusions=(own,))
    assert built.policy.exclusions == ordered
    assert not any(entry.host == "a.example" for entry in built.policy.entries)


def test_full_isolation_knows_no_exclusions() -> None:
    exclusion = Exclusion("wiki", Direction.OUT, Transport.TCP, 443, pattern="wiki.test")
    built = build(exclusions=(exclusion,))
    assert "wiki.test" not in patterns(built)
    assert built.policy.exclusions == ()


def test_the_configured_resolvers_come_first() -> None:
    assert build(resolvers=(ip_address("10.0.0.53"),)).policy.resolvers == (ip_address("10.0.0.53"),)


def test_entries_given_as_networks_need_no_name(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("header: {list_id: own}\nentries: [{pattern: 203.0.113.0/28, port: 8443}]\n")
    built = build(IsolationOrder(lists=(str(own),)), HostFacts((), (), ()))
    assert built.policy.entries == ()
    assert [(str(n.network), n.port, n.entry) for n in built.policy.networks] == [
        ("203.0.113.0/28", 8443, "own#1")
    ]


@pytest.mark.parametrize(
    ("order", "code", "said"),
    [
        (IsolationOrder(lists=("absent",)), FailureCode.BAD_LIST, "absent"),
        (IsolationOrder(geo=("XX",)), FailureCode.BAD_LIST, "XX"),
        (IsolationOrder(profile="everything"), FailureCode.BAD_LIST, "everything"),
    ],
)
def test_a_wish_nobody_can_fulfil(order: IsolationOrder, code: FailureCode, said: str) -> None:
    error = refusal(order)
    assert (error.code, error.exit_code) == (code, 2)
    assert said in error.sentence


def test_a_malformed_list_names_file_line_and_reason(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("header: {list_id: own}\nentries:\n- {pattern: 'not a host!'}\n")
    error = refusal(IsolationOrder(lists=(str(bad),)))
    assert error.code is FailureCode.BAD_LIST
    assert f"{bad}:3: " in error.sentence


def test_a_list_that_leaves_nothing_open_is_refused(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("header: {list_id: own}\nentries: [{pattern: a.test, isolation: false}]\n")
    assert refusal(IsolationOrder(lists=(str(own),))).code is FailureCode.EMPTY_LIST


def test_names_without_a_resolver_are_refused() -> None:
    assert refusal(facts=HostFacts((), (), ())).code is FailureCode.NO_RESOLVER


@pytest.mark.parametrize(
    ("pattern", "match"),
    [
        ("wiki.test", Match.EXACT),
        ("*.wiki.test", Match.SUBDOMAINS),
        ("build*.wiki.test", Match.GLOB),
        ("*.eu*.wiki.test", Match.GLOB),
    ],
)
def test_an_exclusion_by_name_matches_as_its_pattern_says(pattern: str, match: Match) -> None:
    exclusion = Exclusion("wiki", Direction.OUT, Transport.TCP, 443, pattern=pattern)
    (entry,) = (
        each for each in build(SELECTIVE, exclusions=(exclusion,)).policy.entries if each.pattern == pattern
    )
    assert entry.match is match


@pytest.mark.parametrize("url", ["https://-control-.example", "https://control..example"])
def test_a_controller_without_a_host_name_is_refused(url: str) -> None:
    error = refusal(controller=ControllerSettings(url))
    assert error.code is FailureCode.BAD_CONFIG
    assert "control channel" in error.sentence


@pytest.mark.parametrize(
    ("exclusion", "why"),
    [
        (Exclusion("a", Direction.IN, Transport.TCP, 22, pattern="jump.test"), "incoming"),
        (Exclusion("a", Direction.OUT, Transport.TCP, pattern="wiki.test"), "needs a port"),
        (Exclusion("a", Direction.OUT, Transport.TCP, 443, pattern="wiki.test", uid=7), "process"),
    ],
)
def test_an_exclusion_that_cannot_be_enforced_is_refused(exclusion: Exclusion, why: str) -> None:
    error = refusal(SELECTIVE, exclusions=(exclusion,))
    assert error.code is FailureCode.BAD_CONFIG
    assert why in error.sentence


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("https://control.example/x", ControlEndpoint(443, host="control.example")),
        ("https://control.example:8443", ControlEndpoint(8443, host="control.example")),
        ("http://192.0.2.80", ControlEndpoint(80, address=ip_address("192.0.2.80"))),
        ("https://[2001:db8::80]:8443", ControlEndpoint(8443, address=ip_address("2001:db8::80"))),
    ],
)
def test_the_controller_is_part_of_the_control_channel(url: str, endpoint: ControlEndpoint) -> None:
    config = AgentConfig(controller=ControllerSettings(url))
    assert control_endpoints(config) == (endpoint,)
    assert control_endpoints(replace(config, control_channel=(endpoint,))) == (endpoint,)


def test_the_control_channel_by_name_is_listed_first() -> None:
    built = build(control_channel=(ControlEndpoint(8443, host="control.example"),))
    first = built.policy.entries[0]
    assert (first.id, first.host, first.port) == ("control#1", "control.example", 8443)
    by_address = build(control_channel=(ControlEndpoint(8443, address=ip_address("192.0.2.80")),)).policy
    assert fixed_control_doors(by_address) == (Destination(ip_address("192.0.2.80"), Transport.TCP, 8443),)


def test_names_to_ask_for_are_exact_hosts_and_known_hosts_of_the_geography() -> None:
    policy = build().policy
    names = names_to_resolve(policy, ("EU",))
    assert {"crl.microsoft.com", "edr-neu.eu.endpoint.security.microsoft.com"} <= set(names)
    assert "edr-cus.us.endpoint.security.microsoft.com" not in names
    assert "edr-cus.us.endpoint.security.microsoft.com" in names_to_resolve(policy)
    assert not [name for name in names if "*" in name]
    assert len(set(names)) == len(names)
