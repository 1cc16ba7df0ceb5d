"""The pure parts of the proxy step: targets, challenges, and what is blotted out."""

from __future__ import annotations

import asyncio
import base64
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectivity_check.model import ProxyAuth, ProxyServer
from connectivity_check.probes.http_connect import ConnectAnswer
from connectivity_check.probes.proxy_auth import Basic, Spnego, authenticator, parse_challenges
from connectivity_check.probes.proxy_evidence import Secrets, answer_evidence
from connectivity_check.probes.tunnel_target import TunnelTarget


@given(st.text(max_size=40))
def test_what_is_let_into_a_request_has_one_meaning(host: str) -> None:
    try:
        target = TunnelTarget.parse(host, 443)
    except ValueError:
        return
    assert target.authority.isascii()
    assert target.authority.isprintable()
    assert not set(target.authority) & set(" /@?#\\\"'<>%,;")
    assert target.authority.endswith(":443")


@pytest.mark.parametrize(
    ("host", "authority"),
    [
        ("a.example.", "a.example.:1"),
        ("_srv.a-b.example", "_srv.a-b.example:1"),
        ("::1", "[::1]:1"),
        ("127.0.0.1", "127.0.0.1:1"),
    ],
)
def test_authorities(host: str, authority: str) -> None:
    assert TunnelTarget.parse(host, 1).authority == authority


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["Basic realm=x"], [("basic", "", {"realm": "x"})]),
        (['NTLM, Basic realm="a, b"'], [("ntlm", "", {}), ("basic", "", {"realm": "a, b"})]),
        (["Negotiate YIIabc=="], [("negotiate", "YIIabc==", {})]),
        (
            ['Digest realm="x", nonce="n", qop="auth"'],
            [("digest", "", {"realm": "x", "nonce": "n", "qop": "auth"})],
        ),
        (['Basic realm = "x"'], [("basic", "", {"realm": "x"})]),
        (['realm="nobody\'s"', "NTLM"], [("ntlm", "", {})]),
        (['Basic realm="unbalanced'], [("basic", 'realm="unbalanced', {})]),
        (["", ",,", "  "], []),
        (['Basic realm="a\\"b"'], [("basic", "", {"realm": 'a"b'})]),
    ],
)
def test_challenges(values: list[str], expected: list[tuple[str, str, dict[str, str]]]) -> None:
    assert [(c.scheme, c.token, c.parameters) for c in parse_challenges(values)] == expected


@given(st.lists(st.text(max_size=60), max_size=3))
def test_no_challenge_raises(values: list[str]) -> None:
    parse_challenges(values)


@pytest.mark.parametrize("piece", ['"', '"\\', "a=", "a b,", '="', " ", ","])
def test_a_header_of_one_piece_over_and_over_takes_no_time(piece: str) -> None:
    began = time.process_time()
    parse_challenges([piece * 65536])
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize(
    "piece", [b"<", b"<a", b"<script ", b"</script ", b"<title", b"&#", b"basic ", b"\xff"]
)
def test_a_page_of_one_piece_over_and_over_takes_no_time(piece: bytes) -> None:
    answer = ConnectAnswer(403, "No", (), body=piece * 65536)
    began = time.process_time()
    answer_evidence(answer, Secrets(ProxyServer("p", 1, username="u", password="p")))
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize(
    ("user", "password", "text", "shown"),
    [
        ("web", "abc", "the website of web", "the website of ***"),
        ("u", "long-secret", "xlong-secretx", "x***x"),
        ("u", "a&b<c>d", "a&amp;b&lt;c&gt;d", "***"),
        ("u", "pass word", "p=pass%20word", "p=***"),
        ("", "", "Basic realm", "Basic realm"),
        ("", "", "Proxy-Authorization: NTLM TlRMTVNTUAAB", "Proxy-Authorization: NTLM ***"),
        ("u", "p", f"got {base64.b64encode(b'u:p').decode()}", "got ***"),
    ],
)
def test_blotting(user: str, password: str, text: str, shown: str) -> None:
    assert Secrets(ProxyServer("p", 1, username=user, password=password)).blot(text) == shown


def test_a_page_that_is_no_text_is_left_out() -> None:
    answer = ConnectAnswer(502, "Bad", (("content-type", "image/png"),), body=b"\x89PNG\r\n\x1a\n\0\0")
    evidence = answer_evidence(answer, Secrets(ProxyServer("p", 1)))
    assert evidence == {"status": 502, "reason": "Bad", "headers": {"content-type": "image/png"}}


def test_control_characters_of_a_page_do_not_get_through() -> None:
    answer = ConnectAnswer(403, "No", (), body="<title>\x1b[31mred\u202e</title>a\x07b\r\nc".encode())
    evidence = answer_evidence(answer, Secrets(ProxyServer("p", 1)))
    assert (evidence["title"], evidence["body_start"]) == ("[31mred", "a b c")


def test_who_answers_a_login() -> None:
    assert authenticator(ProxyServer("p", 1)) is None
    assert isinstance(authenticator(ProxyServer("p", 1, username="u")), Basic)
    assert isinstance(authenticator(ProxyServer("p", 1, auth=ProxyAuth.NTLM)), Spnego)


def test_basic_answers_once() -> None:
    async def twice() -> list[str | None]:
        basic = Basic(ProxyServer("p", 1, username="u", password="ü"))
        return [await basic.answer(""), await basic.answer("")]

    first, second = asyncio.run(twice())
    assert first == "Basic " + base64.b64encode("u:ü".encode()).decode()
    assert second is None
