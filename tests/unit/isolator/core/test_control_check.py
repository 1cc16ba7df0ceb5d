"""Would these rules cut the control channel?"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from isolator.core.compiler import LEARNED, SEEN, compile_policy
from isolator.core.control_check import cut_doors
from isolator.model.flow import Destination, Transport
from isolator.model.order import IsolationScope
from isolator.model.policy import ControlEndpoint, Policy

DOOR = Destination(ip_address("198.51.100.9"), Transport.TCP, 8443)
DOOR6 = Destination(ip_address("2001:db8::9"), Transport.TCP, 8443)
OWN = (ip_address("192.0.2.10"),)
POLICY = Policy(IsolationScope.FULL, (), control=(ControlEndpoint(8443, address=DOOR.address),))


def test_a_configured_door_stays_open() -> None:
    assert cut_doors(compile_policy(POLICY, 1), [DOOR], OWN, {}) == ()


def test_a_door_that_no_rule_opens_is_named() -> None:
    rules = compile_policy(replace(POLICY, control=()), 1)
    assert cut_doors(rules, [DOOR, DOOR6], OWN, {}) == (DOOR, DOOR6)


def test_a_door_that_opens_outwards_only_is_cut() -> None:
    rules = compile_policy(replace(POLICY, control=()), 1)
    assert cut_doors(rules, [DOOR], OWN, {LEARNED[4]: {DOOR}}) == (DOOR,)
    assert cut_doors(rules, [DOOR], OWN, {LEARNED[4]: {DOOR}, SEEN[4]: {DOOR}}) == ()
