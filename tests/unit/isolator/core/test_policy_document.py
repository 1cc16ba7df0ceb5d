"""Policies and orders as JSON values and back."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from isolator.core.policy_document import decode_order, decode_policy, encode_order, encode_policy
from isolator.model.exclusion import Exclusion
from isolator.model.order import IsolationOrder, IsolationScope, OnSilence
from isolator.model.policy import Policy, ProxyEndpoint
from tests.golden.transactions import BY_ADDRESS, FULL, SELECTIVE

_KEPT = ("n", "list_id", "pattern", "host", "match", "ports", "protocol", "path", "apex", "geography")


def _through_json(value: object) -> Any:
    return json.loads(json.dumps(value))


@pytest.mark.parametrize("policy", [FULL, SELECTIVE, BY_ADDRESS], ids=["full", "selective", "by_address"])
def test_a_policy_survives_the_journal(policy: Policy) -> None:
    back = decode_policy(_through_json(encode_policy(policy)))
    assert encode_policy(back) == encode_policy(policy)
    assert (back.networks, back.resolvers, back.control) == (
        policy.networks,
        policy.resolvers,
        policy.control,
    )
    assert back.proxies == policy.proxies
    assert (back.exclusions, back.dhcp_servers, back.limits) == (
        policy.exclusions,
        policy.dhcp_servers,
        policy.limits,
    )
    for was, now in zip(policy.entries, back.entries, strict=True):
        assert [getattr(now, key) for key in _KEPT] == [getattr(was, key) for key in _KEPT]


def test_an_order_survives_the_socket() -> None:
    order = IsolationOrder(
        IsolationScope.SELECTIVE,
        ("standard", "/etc/own.yaml"),
        ("EU",),
        "all",
        3600.0,
        "INC-1",
        OnSilence.STAY,
    )
    assert decode_order(_through_json(encode_order(order))) == order
    assert decode_order(_through_json(encode_order(IsolationOrder()))) == IsolationOrder()


@pytest.mark.parametrize("exclusions", [None, (), SELECTIVE.exclusions])
def test_the_exclusions_of_an_order_survive_the_journal(exclusions: tuple[Exclusion, ...] | None) -> None:
    order = IsolationOrder(IsolationScope.SELECTIVE, exclusions=exclusions)
    assert decode_order(_through_json(encode_order(order))) == order


def test_an_order_from_before_there_were_exclusions_has_those_of_the_device() -> None:
    document = encode_order(IsolationOrder())
    del document["exclusions"]
    assert decode_order(_through_json(document)).exclusions is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("scope", "everything"),
        ("lists", "streamlined"),
        ("lists", [1]),
        ("geo", 7),
        ("duration_s", "soon"),
        ("duration_s", "nan"),
        ("duration_s", float("inf")),
        ("on_silence", None),
    ],
)
def test_an_order_with_a_wrong_value_is_refused(key: str, value: object) -> None:
    with pytest.raises((KeyError, ValueError, TypeError)):
        decode_order({**encode_order(IsolationOrder()), key: value})


def test_a_policy_with_a_missing_or_wrong_part_is_refused() -> None:
    whole = encode_policy(SELECTIVE)
    for key in whole:
        if key == "proxies":
            continue  # written before there were any
        with pytest.raises((KeyError, ValueError, TypeError)):
            decode_policy({name: value for name, value in whole.items() if name != key})
    for key in whole:
        with pytest.raises((KeyError, ValueError, TypeError)):
            decode_policy({**whole, key: 1})


def test_a_journal_from_before_there_were_proxies_has_none() -> None:
    whole = encode_policy(SELECTIVE)
    del whole["proxies"]
    assert decode_policy(whole).proxies == ()


def test_proxies_survive() -> None:
    proxies = (ProxyEndpoint(ip_address("192.0.2.8"), 3128), ProxyEndpoint(ip_address("2001:db8::8"), 8080))
    policy = replace(SELECTIVE, proxies=proxies)
    assert decode_policy(json.loads(json.dumps(encode_policy(policy)))).proxies == proxies
    assert [str(each) for each in proxies] == ["192.0.2.8:3128", "[2001:db8::8]:8080"]


@pytest.mark.parametrize("uid", ["0", 1.5, True])
def test_an_exclusion_s_user_must_be_a_whole_number(uid: object) -> None:
    whole = encode_policy(SELECTIVE)
    damaged = [{**whole["exclusions"][0], "uid": uid}, *whole["exclusions"][1:]]
    with pytest.raises(TypeError):
        decode_policy({**whole, "exclusions": damaged})


@pytest.mark.parametrize("number", [5, True, 3_221_225_985])
def test_a_number_is_no_address(number: int) -> None:
    whole = encode_policy(BY_ADDRESS)
    (_, *rest), *others = whole["networks"]
    for damage in (
        {"resolvers": [number]},
        {"dhcp_servers": [number]},
        {"networks": [[number, *rest], *others]},
    ):
        with pytest.raises(TypeError):
            decode_policy({**whole, **damage})
