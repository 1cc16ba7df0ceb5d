"""From an order, the configuration and facts about the host to the policy that the order means."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from allowlists.fqdn import normalise
from allowlists.merge import select, select_networks
from allowlists.model import EndpointList, Entry, ListError, Match, ParseError, Profile, Protocol
from allowlists.pattern import parse_pattern
from isolator.model.config import AgentConfig
from isolator.model.failure import FailureCode, IsolatorError
from isolator.model.flow import Destination, Transport
from isolator.model.order import IsolationOrder, IsolationScope
from isolator.model.policy import (
    AllowedNetwork,
    ControlEndpoint,
    DhcpServer,
    Direction,
    Exclusion,
    Policy,
)
from isolator.ports import HostFacts

CONTROL_LIST = "control"
"""List id of the entries that stand for the control channel's host names."""

EXCLUSION_LIST = "exclusion"
"""List id of the entries that stand for exclusions by name."""

COLLABORATION = "collaboration"

LoadList = Callable[[str], EndpointList]


@dataclass(frozen=True, slots=True)
class ListInForce:
    """Which list an isolation was built from, and how many of its rows are open."""

    id: str
    version: str
    entries: int


@dataclass(frozen=True, slots=True)
class BuiltPolicy:
    """The policy and the lists it came from."""

    policy: Policy
    lists: tuple[ListInForce, ...]


def build_policy(order: IsolationOrder, config: AgentConfig, facts: HostFacts, load: LoadList) -> BuiltPolicy:
    """The policy of an order.

    IsolatorError: BAD_LIST (with file, line and reason), EMPTY_LIST when nothing of the lists is
    left, NO_RESOLVER when names are listed and the host has nobody to ask, BAD_CONFIG for an
    exclusion that cannot be enforced and for a controller whose host is no host name.
    """
    lists, entries, networks = _from_lists(order, config, load)
    control = control_endpoints(config)
    exclusions = _exclusions(order, config)
    if not entries and not networks:
        wish = f"profile {order.profile}" + (f", geography {','.join(order.geo)}" if order.geo else "")
        raise IsolatorError(
            FailureCode.EMPTY_LIST,
            "build_policy",
            f"the lists {', '.join(order.lists)} leave nothing open for {wish}: "
            "the security service could not be reached, so nothing was changed; choose another list or --geo",
        )
    named = (*_control_entries(control), *_exclusion_entries(exclusions))
    resolvers = config.resolvers or facts.resolvers
    if (entries or named) and not resolvers:
        raise IsolatorError(
            FailureCode.NO_RESOLVER,
            "build_policy",
            "this host has no DNS resolver to ask about the listed names: name one under `resolvers` "
            "in agent.yaml or in /etc/resolv.conf",
        )
    policy = Policy(
        scope=order.scope,
        entries=(*named, *entries),
        networks=networks,
        resolvers=tuple(resolvers),
        control=control,
        exclusions=exclusions,
        dhcp_servers=tuple(DhcpServer(address) for address in facts.dhcp_servers),
        limits=config.learn,
        proxies=config.proxies,
    )
    return BuiltPolicy(policy, lists)


def _exclusions(order: IsolationOrder, config: AgentConfig) -> tuple[Exclusion, ...]:
    """None for full isolation. What an order brings takes the place of agent.yaml's: what was shown and
    confirmed when it was given is what is open, whatever this host's file says."""
    if order.scope is not IsolationScope.SELECTIVE:
        return ()
    return config.exclusions if order.exclusions is None else order.exclusions


def _from_lists(
    order: IsolationOrder, config: AgentConfig, load: LoadList
) -> tuple[tuple[ListInForce, ...], tuple[Entry, ...], tuple[AllowedNetwork, ...]]:
    try:
        loaded = [load(name) for name in order.lists]
        rows = list(select(loaded, geo=order.geo, os=config.os, profile=order.profile))
        prefixes = list(select_networks(loaded, geo=order.geo, profile=order.profile))
        if order.scope is IsolationScope.SELECTIVE:
            extra = load(COLLABORATION)
            loaded.append(extra)
            rows += select([extra], profile=Profile.ALL)
            prefixes += select_networks([extra], profile=Profile.ALL)
    except ListError as error:
        raise IsolatorError(FailureCode.BAD_LIST, "load_list", str(error)) from error
    networks = [
        AllowedNetwork(each.network, Transport(each.protocol.value), each.port, f"{each.name}@{each.as_of}")
        for each in prefixes
    ]
    for entry in rows:
        if entry.network is not None:
            networks += [
                AllowedNetwork(entry.network, Transport(entry.protocol.value), port, entry.id)
                for port in entry.ports
            ]
    names = tuple(entry for entry in rows if entry.network is None)
    counted = tuple(
        ListInForce(each.list_id, each.version, sum(row.list_id == each.list_id for row in rows))
        for each in loaded
    )
    return counted, names, tuple(dict.fromkeys(networks))


def control_endpoints(config: AgentConfig) -> tuple[ControlEndpoint, ...]:
    """The configured control channel, and the controller's own address when it is not among them."""
    endpoints = list(config.control_channel)
    if config.controller is not None:
        url = urlsplit(config.controller.url)
        port = url.port or (443 if url.scheme == "https" else 80)
        endpoint = _endpoint(url.hostname or "", port)
        if endpoint not in endpoints:
            endpoints.append(endpoint)
    return tuple(endpoints)


def _endpoint(host: str, port: int) -> ControlEndpoint:
    try:
        return ControlEndpoint(port, address=ip_address(host))
    except ValueError:
        return ControlEndpoint(port, host=host)


def _control_entries(control: Iterable[ControlEndpoint]) -> list[Entry]:
    return [
        Entry(
            n=number,
            pattern=endpoint.host,
            host=_control_host(endpoint.host),
            port=endpoint.port,
            list_id=CONTROL_LIST,
        )
        for number, endpoint in enumerate(control, start=1)
        if endpoint.host is not None
    ]


def _control_host(host: str) -> str:
    try:
        return normalise(host)
    except ParseError as error:
        raise IsolatorError(
            FailureCode.BAD_CONFIG, "build_policy", f"the control channel cannot be reached: {error}"
        ) from error


def _exclusion_entries(exclusions: Sequence[Exclusion]) -> list[Entry]:
    made: list[Entry] = []
    for number, exclusion in enumerate(exclusions, start=1):
        if exclusion.pattern is None:
            continue
        problem = _unenforceable(exclusion)
        if problem:
            raise IsolatorError(
                FailureCode.BAD_CONFIG, "build_policy", f"exclusion {exclusion.name!r}: {problem}"
            )
        made.append(
            Entry(
                n=number,
                pattern=exclusion.pattern,
                host=exclusion.pattern,
                match=parse_pattern(exclusion.pattern).match,
                port=exclusion.port or 0,
                protocol=Protocol(exclusion.transport.value),
                list_id=EXCLUSION_LIST,
            )
        )
    return made


def _unenforceable(exclusion: Exclusion) -> str:
    if exclusion.direction is Direction.IN:
        return "an incoming exclusion needs an address or network, a name says nothing about who connects"
    if exclusion.port is None:
        return "an exclusion by name needs a port"
    if exclusion.uid is not None:
        return "an exclusion by name cannot be limited to a process; give its network instead"
    return ""


def names_to_resolve(policy: Policy, geo: Sequence[str] = ()) -> tuple[str, ...]:
    """The names worth asking for before isolation: exact hosts and the known hosts of wildcards."""
    names: dict[str, None] = {}
    for entry in policy.entries:
        if entry.match is Match.EXACT:
            names[entry.host] = None
        elif entry.apex:
            names[entry.host.removeprefix("*.")] = None
        for fact in entry.known_host_facts:
            if not geo or fact.geography in ("WW", *geo):
                names[fact.host] = None
        if not entry.known_host_facts:
            names.update(dict.fromkeys(entry.known_hosts))
    return tuple(names)


def fixed_control_doors(policy: Policy) -> tuple[Destination, ...]:
    """The control channel's doors that are given by address."""
    return tuple(
        Destination(endpoint.address, Transport.TCP, endpoint.port)
        for endpoint in policy.control
        if endpoint.address is not None
    )
