"""Names in hellos and requests against the list and what was learned."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from isolator.core.name_check import (
    FlowPolicy,
    judge_hello,
    judge_proxy_request,
    judge_request,
    judge_tunnel_hello,
    networks_by_port,
    path_allowed,
)
from isolator.model.flow import Destination, Transport
from isolator.model.http import Form, Request
from isolator.model.policy import AllowedNetwork
from isolator.model.tls import Ech, Hello
from isolator.model.verdict import Decision, Reason, Verdict
from tests.unit.isolator.core.gate_fakes import LISTED, NARROW, RELAY, WILD, FakeEntry, FakeIndex

PKI = FakeEntry("l#5", "crl.listed.test", (80,), path="/pki/*")
PKI_OPS = FakeEntry("l#6", "crl.listed.test", (80,), path="/ops/one.crl")
NETWORKS = (
    AllowedNetwork(ip_network("20.9.0.0/16"), Transport.TCP, 443, "n#1"),
    AllowedNetwork(ip_network("2603:9::/32"), Transport.TCP, 443, "n#2"),
    AllowedNetwork(ip_network("20.9.0.0/16"), Transport.UDP, 3478, "n#3"),
)
POLICY = FlowPolicy(FakeIndex(LISTED, NARROW, WILD, RELAY, PKI, PKI_OPS), networks_by_port(NETWORKS))
TLS = Destination(ip_address("20.1.2.3"), Transport.TCP, 443)
HTTP = Destination(ip_address("20.1.2.3"), Transport.TCP, 80)


def accept(reason: Reason, entry: str) -> Decision:
    return Decision(Verdict.ACCEPT, reason, entry)


def refuse(reason: Reason, entry: str | None = None) -> Decision:
    return Decision(Verdict.REJECT, reason, entry)


@pytest.mark.parametrize(
    ("name", "ech", "learned", "expected"),
    [
        ("www.listed.test", Ech.ABSENT, {"l#1"}, accept(Reason.TLS_NAME_ALLOWED, "l#1")),
        ("www.listed.test", Ech.OUTER, {"l#1"}, accept(Reason.TLS_NAME_ALLOWED, "l#1")),
        ("www.listed.test", Ech.ABSENT, {"l#2"}, refuse(Reason.TLS_NAME_ELSEWHERE, "l#1")),
        ("a.wild.test", Ech.ABSENT, {"l#2"}, accept(Reason.TLS_NAME_ALLOWED, "l#2")),
        ("exact.wild.test", Ech.ABSENT, {"l#2"}, accept(Reason.TLS_NAME_ALLOWED, "l#2")),
        ("exact.wild.test", Ech.ABSENT, {"l#3"}, refuse(Reason.TLS_NAME_ELSEWHERE, "l#2")),
        ("evil.test", Ech.ABSENT, {"l#1"}, refuse(Reason.TLS_NAME_NOT_ALLOWED)),
        ("wild.test", Ech.ABSENT, {"l#2"}, refuse(Reason.TLS_NAME_NOT_ALLOWED)),
        ("cover.provider.test", Ech.OUTER, {"l#1"}, refuse(Reason.TLS_ECH_REFUSED)),
        ("crl.listed.test", Ech.ABSENT, {"l#5"}, refuse(Reason.TLS_NAME_NOT_ALLOWED)),
        ("relay.listed.test", Ech.ABSENT, {"l#4"}, refuse(Reason.TLS_NAME_NOT_ALLOWED)),
        (None, Ech.ABSENT, {"l#1"}, refuse(Reason.TLS_NAME_MISSING)),
    ],
)
def test_hellos(name: str | None, ech: Ech, learned: set[str], expected: Decision) -> None:
    decision = judge_hello(POLICY, Hello(name, (), ech=ech), TLS, learned.__contains__)
    assert decision == expected
    assert decision.said == (name if decision.verdict is Verdict.REJECT else None)


def test_a_policy_that_refuses_every_ech() -> None:
    strict = FlowPolicy(POLICY.index, refuse_ech=True)
    hello = Hello("www.listed.test", (), ech=Ech.OUTER)
    assert judge_hello(strict, hello, TLS, {"l#1"}.__contains__) == refuse(Reason.TLS_ECH_REFUSED)


def test_without_an_index_nothing_is_allowed() -> None:
    hello = Hello("www.listed.test", ())
    assert judge_hello(FlowPolicy(), hello, TLS, {"l#1"}.__contains__) == refuse(Reason.TLS_NAME_NOT_ALLOWED)


def get(host: str, path: str = "/", port: int | None = None, **more: object) -> Request:
    return Request("GET", Form.ORIGIN, host, port, path, doubtful=bool(more.get("doubtful")))


@pytest.mark.parametrize(
    ("request_", "learned", "expected"),
    [
        (get("www.listed.test"), {"l#1"}, accept(Reason.HTTP_HOST_ALLOWED, "l#1")),
        (get("www.listed.test", port=80), {"l#1"}, accept(Reason.HTTP_HOST_ALLOWED, "l#1")),
        (get("www.listed.test", doubtful=True), {"l#1"}, accept(Reason.HTTP_HOST_ALLOWED, "l#1")),
        (get("www.listed.test", port=443), {"l#1"}, refuse(Reason.HTTP_HOST_NOT_ALLOWED)),
        (get("www.listed.test"), {"l#5"}, refuse(Reason.HTTP_HOST_ELSEWHERE, "l#1")),
        (get("evil.test"), {"l#1"}, refuse(Reason.HTTP_HOST_NOT_ALLOWED)),
        (get("20.1.2.3"), {"l#1"}, refuse(Reason.HTTP_HOST_NOT_ALLOWED)),
        (get("a.wild.test"), {"l#2"}, refuse(Reason.HTTP_HOST_NOT_ALLOWED)),
        (get("crl.listed.test", "/pki/a.crl"), {"l#5"}, accept(Reason.HTTP_HOST_ALLOWED, "l#5")),
        (get("crl.listed.test", "/ops/one.crl"), {"l#5"}, accept(Reason.HTTP_HOST_ALLOWED, "l#6")),
        (get("crl.listed.test", "/ops/two.crl"), {"l#5"}, refuse(Reason.HTTP_PATH_NOT_ALLOWED, "l#5")),
        (get("crl.listed.test", "/pki"), {"l#5"}, refuse(Reason.HTTP_PATH_NOT_ALLOWED, "l#5")),
        (get("crl.listed.test", "/pki/..%2Fx", doubtful=True), {"l#5"}, refuse(Reason.HTTP_PATH_NOT_ALLOWED, "l#5")),
        (Request("GET", Form.ABSOLUTE, "www.listed.test", 80, "/"), {"l#1"}, accept(Reason.HTTP_HOST_ALLOWED, "l#1")),
        (Request("CONNECT", Form.AUTHORITY, "www.listed.test", 80, ""), {"l#1"}, refuse(Reason.HTTP_HOST_NOT_ALLOWED)),
        (Request("OPTIONS", Form.ASTERISK, "www.listed.test", None, "*"), {"l#1"}, accept(Reason.HTTP_HOST_ALLOWED, "l#1")),
    ],
)  # fmt: skip
def test_requests(request_: Request, learned: set[str], expected: Decision) -> None:
    decision = judge_request(POLICY, request_, HTTP, learned.__contains__)
    assert decision == expected
    assert (decision.said is None) is (decision.verdict is Verdict.ACCEPT)
    assert decision.said is None or decision.said.partition(":")[0] == request_.host


def connect(host: str, port: int = 443) -> Request:
    return Request("CONNECT", Form.AUTHORITY, host, port, "")


def absolute(host: str, port: int = 80, path: str = "/") -> Request:
    return Request("GET", Form.ABSOLUTE, host, port, path)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (connect("www.listed.test"), accept(Reason.PROXY_TARGET_ALLOWED, "l#1")),
        (connect("exact.wild.test", 8443), accept(Reason.PROXY_TARGET_ALLOWED, "l#3")),
        (connect("20.9.1.1"), accept(Reason.PROXY_TARGET_ALLOWED, "n#1")),
        (connect("2603:9::1"), accept(Reason.PROXY_TARGET_ALLOWED, "n#2")),
        (connect("20.8.1.1"), refuse(Reason.PROXY_TARGET_NOT_ALLOWED)),
        (connect("20.9.1.1", 3478), refuse(Reason.PROXY_TARGET_NOT_ALLOWED)),
        (connect("www.listed.test", 22), refuse(Reason.PROXY_TARGET_NOT_ALLOWED)),
        (connect("www.listed.test", 80), refuse(Reason.PROXY_REQUEST_REFUSED)),
        (connect("evil.test"), refuse(Reason.PROXY_TARGET_NOT_ALLOWED)),
        (connect("relay.listed.test", 3478), refuse(Reason.PROXY_TARGET_NOT_ALLOWED)),
        (absolute("www.listed.test"), accept(Reason.PROXY_TARGET_ALLOWED, "l#1")),
        (absolute("www.listed.test", 443), refuse(Reason.PROXY_REQUEST_REFUSED)),
        (absolute("crl.listed.test", path="/pki/x"), accept(Reason.PROXY_TARGET_ALLOWED, "l#5")),
        (absolute("crl.listed.test", path="/x"), refuse(Reason.HTTP_PATH_NOT_ALLOWED, "l#5")),
        (absolute("evil.test"), refuse(Reason.PROXY_TARGET_NOT_ALLOWED)),
        (get("www.listed.test"), refuse(Reason.PROXY_REQUEST_REFUSED)),
        (get("www.listed.test", port=80), refuse(Reason.PROXY_REQUEST_REFUSED)),
        (Request("OPTIONS", Form.ASTERISK, "www.listed.test", 80, "*"), refuse(Reason.PROXY_REQUEST_REFUSED)),
    ],
)  # fmt: skip
def test_proxy_requests(request_: Request, expected: Decision) -> None:
    decision = judge_proxy_request(POLICY, request_)
    assert decision == expected
    assert (decision.said is None) is (decision.verdict is Verdict.ACCEPT)


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (connect("evil.test"), "evil.test:443"),
        (connect("2603:8::1", 22), "[2603:8::1]:22"),
        (absolute("evil.test"), "evil.test:80"),
        (absolute("crl.listed.test", path="/secret"), "crl.listed.test"),
        (get("www.listed.test"), "www.listed.test"),
    ],
)
def test_what_was_asked_of_a_proxy_is_told_without_its_path(request_: Request, said: str) -> None:
    assert judge_proxy_request(POLICY, request_).said == said


@pytest.mark.parametrize(
    ("target", "name", "ech", "expected"),
    [
        (connect("www.listed.test"), "www.listed.test", Ech.OUTER, accept(Reason.TLS_NAME_ALLOWED, "l#1")),
        (connect("a.wild.test"), "b.wild.test", Ech.ABSENT, accept(Reason.TLS_NAME_ALLOWED, "l#2")),
        (connect("a.wild.test"), "www.listed.test", Ech.ABSENT, refuse(Reason.TLS_NAME_ELSEWHERE, "l#1")),
        (connect("www.listed.test"), "evil.test", Ech.ABSENT, refuse(Reason.TLS_NAME_NOT_ALLOWED)),
        (connect("www.listed.test"), "cover.test", Ech.OUTER, refuse(Reason.TLS_ECH_REFUSED)),
        (connect("www.listed.test"), None, Ech.ABSENT, refuse(Reason.TLS_NAME_MISSING)),
        (connect("20.9.1.1"), None, Ech.ABSENT, accept(Reason.LISTED_NETWORK, "n#1")),
        (connect("20.8.1.1"), None, Ech.ABSENT, refuse(Reason.TLS_NAME_MISSING)),
    ],
)
def test_hellos_in_tunnels(target: Request, name: str | None, ech: Ech, expected: Decision) -> None:
    decision = judge_tunnel_hello(POLICY, Hello(name, (), ech=ech), target)
    assert decision == expected
    told = name or f"{target.host}:{target.port}"
    assert decision.said == (told if decision.verdict is Verdict.REJECT else None)


@pytest.mark.parametrize(
    ("pattern", "path", "allowed"),
    [
        (None, "/x", True),
        ("/pki/*", "/pki/x", True),
        ("/pki/*", "/pki/", True),
        ("/pki/*", "/pkix", False),
        ("/one", "/one", True),
        ("/one", "/one/", False),
    ],
)
def test_paths(pattern: str | None, path: str, allowed: bool) -> None:
    assert path_allowed(pattern, path) is allowed
