"""What a script is asked, and what its answers mean."""

from __future__ import annotations

import pytest

from connectivity_check.model import ProxyAuth, ProxyScheme, ProxyServer
from connectivity_check.settings.pac_answer import Answer, question_for, read_answer

P = ProxyServer("p.example", 3128)


@pytest.mark.parametrize(
    ("url", "host", "expected"),
    [
        ("https://a.example/secret?sig=1", "a.example", ("https://a.example/", "a.example")),
        ("https://u:p@a.example:443/x", "a.example", ("https://a.example/", "a.example")),
        ("https://a.example:8443/x", "a.example", ("https://a.example:8443/", "a.example")),
        ("http://a.example/pkiops/x.crl?y#z", "A.Example", ("http://a.example/pkiops/x.crl?y", "a.example")),
        ("http://a.example:80", "a.example", ("http://a.example/", "a.example")),
        (
            "https://bücher.example/",
            "bücher.example",
            ("https://xn--bcher-kva.example/", "xn--bcher-kva.example"),
        ),
        ("https://[2001:db8::1]/", "2001:db8::1", ("https://[2001:db8::1]/", "2001:db8::1")),
        ("https://[2001:db8::1]:444/", "2001:db8::1", ("https://[2001:db8::1]:444/", "2001:db8::1")),
    ],
)
def test_questions(url: str, host: str, expected: tuple[str, str]) -> None:
    assert question_for(url, host) == expected


@pytest.mark.parametrize(
    ("text", "hops"),
    [
        ("DIRECT", (None,)),
        (" direct ; ", (None,)),
        ("PROXY p.example:3128", (P,)),
        ("PROXY p.example", (ProxyServer("p.example", 80),)),
        ("proxy p.example:3128;DIRECT", (P, None)),
        ("PROXY  p.example:3128 ; HTTPS q.example", (P, ProxyServer("q.example", 443, ProxyScheme.HTTPS))),
        ("HTTP p.example:3128", (P,)),
        ("SOCKS s.example", (ProxyServer("s.example", 1080, ProxyScheme.SOCKS5H),)),
        ("SOCKS5 [2001:db8::1]:9", (ProxyServer("2001:db8::1", 9, ProxyScheme.SOCKS5H),)),
        ("PROXY [2001:db8::1]", (ProxyServer("2001:db8::1", 80),)),
        ("DIERCT; PROXY p.example:3128", (P,)),
    ],
)
def test_answers(text: str, hops: tuple[ProxyServer | None, ...]) -> None:
    route = read_answer(Answer(text), "p.pac")
    assert (route.proxy, *route.fallbacks) == hops
    assert route.error == ""
    assert route.pac


def test_what_was_passed_over_is_told() -> None:
    assert read_answer(Answer("DIERCT; PROXY p:1"), "p.pac").source == "p.pac (passed over: 'DIERCT')"


def test_auth_goes_with_the_proxies() -> None:
    route = read_answer(Answer("PROXY p:1"), "p.pac", ProxyAuth.NTLM)
    assert route.proxy is not None
    assert route.proxy.auth is ProxyAuth.NTLM


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        (Answer(None), "gives nothing"),
        (Answer(""), "gives an empty text"),
        (Answer(" ; ;"), "gives an empty text"),
        (Answer("DIERCT"), "gives 'DIERCT'"),
        (Answer("PROXY"), "'PROXY'"),
        (Answer("PROXY p:99999"), "no way out"),
        (Answer("PROXY p:1 q:2"), "no way out"),
        (Answer("PROXY http://p:1"), "no way out"),
        (Answer("PROXY user:secret@p:1"), "'PROXY ***@p:1'"),
        (Answer("SOCKS4 p:1"), "no way out"),
        (Answer("DIRECT p:1"), "no way out"),
        (Answer("PROXY p:1, PROXY q:2"), "no way out"),
        (Answer("\x1b[31mred"), "'\\x1b[31mred'"),
        (Answer("x" * 4000), "..."),
        (Answer(error="Error: no, near line 4"), "fails for this target: Error: no, near line 4."),
    ],
)
def test_answers_that_are_no_way(answer: Answer, part: str) -> None:
    route = read_answer(answer, "p.pac")
    assert part in route.error
    assert route.error.startswith("The PAC file p.pac ")
    assert len(route.error) < 400
    assert route.proxy is None
