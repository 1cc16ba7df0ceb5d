"""Exchanges over a stream of prepared bytes: what is sent, what comes back, and what it is judged to be."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectivity_check.failure import Seen
from connectivity_check.model import Expectation, Kind, Observation, ProxyServer, Role, Step
from connectivity_check.ports import HttpRequest
from connectivity_check.probes.http import MAX_BODY, HttpProbe
from tests.unit.connectivity_check.probes.prepared import Prepared, StillClock, answer

URL = "https://api.example/ping"
ANY = Expectation()
GET = HttpRequest(URL)


def ask(
    *chunks: bytes | OSError | None,
    expectation: Expectation = ANY,
    request: HttpRequest = GET,
    stream: Prepared | None = None,
    **options: Any,
) -> Observation:
    options.setdefault("budget_s", 2.0)
    probe = HttpProbe(StillClock())
    return asyncio.run(probe.exchange(stream or Prepared(chunks), request, expectation, **options))


HTML = b"<html><head><title>Blocked</title></head><body>by policy 4711"
API = Expectation(statuses=(200,), body_contains="OK")


# ---- what is sent ----------------------------------------------------------------------------------------


def sent(request: HttpRequest, expectation: Expectation = ANY) -> list[str]:
    stream = Prepared([answer()])
    ask(request=request, expectation=expectation, stream=stream)
    head, _, body = stream.sent.partition(b"\r\n\r\n")
    return [*head.decode("latin-1").split("\r\n"), f"body {len(body)}"]


def test_the_request() -> None:
    lines = sent(HttpRequest("https://api.example/a?b=%20c#frag"))
    assert lines[0] == "GET /a?b=%20c HTTP/1.1"
    assert lines[1] == "Host: api.example"
    assert lines[2].startswith("User-Agent: host-isolator-check/")
    assert "Accept-Encoding: identity" in lines
    assert lines[-1] == "body 0"


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://a.example:443/", "a.example"),
        ("https://a.example:8443/", "a.example:8443"),
        ("http://a.example:443/", "a.example:443"),
        ("http://[2001:db8::1]:8080/", "[2001:db8::1]:8080"),
        ("http://user:secret@a.example/", "a.example"),
    ],
)
def test_the_host_header(url: str, host: str) -> None:
    assert sent(HttpRequest(url))[1] == f"Host: {host}"


def test_bodies_ranges_and_head() -> None:
    lines = sent(HttpRequest(URL, method="POST", body_size=65536))
    assert "Content-Length: 65536" in lines
    assert lines[-1] == "body 65536"
    assert "Content-Length: 0" in sent(HttpRequest(URL, method="POST"))
    assert "Range: bytes=0-99" in sent(HttpRequest(URL, range="bytes=0-99"))
    assert sent(HttpRequest(URL, method="HEAD"))[0].startswith("HEAD /ping")


def test_through_a_proxy_in_the_clear() -> None:
    proxy = ProxyServer("p", 3128, username="us:er", password="pä")
    request = HttpRequest("http://user:secret@crl.example/x?y", absolute_form=True, proxy=proxy)
    lines = sent(request)
    assert lines[0] == "GET http://crl.example/x?y HTTP/1.1"
    assert f"Proxy-Authorization: Basic {base64.b64encode('us:er:pä'.encode()).decode()}" in lines
    direct = HttpRequest("http://crl.example/x", proxy=proxy)
    assert not any(line.startswith("Proxy-") for line in sent(direct))
    seen = ask(answer(), request=request)
    assert "pä" not in repr(seen)


def test_urls_that_cannot_be_asked_for() -> None:
    for url in (
        "https:///x",
        "nonsense",
        "https://a.example/x y",
        "https://a.example/\r\nEvil: 1",
        "https://a:b:c/",
    ):
        stream = Prepared([answer()])
        seen = ask(request=HttpRequest(url), stream=stream)
        if seen.seen is not None:
            assert seen.seen is Seen.OTHER
        assert b"\r\nEvil" not in stream.sent


# ---- judgements ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("got", "expected", "seen"),
    [
        (answer(), API, None),
        (answer(), Expectation(), None),
        (answer(b"", "204 No Content"), Expectation(), None),
        (answer(b"{}", "500 Oops"), Expectation(), None),
        (answer(b"{}", "500 Oops"), API, Seen.HTTP_STATUS),
        (answer(b"no", "200 OK"), API, Seen.HTTP_CONTENT),
        (answer(HTML), API, Seen.HTTP_CONTENT),
        (answer(HTML), Expectation(), Seen.HTTP_CONTENT),
        (answer(HTML), Expectation(html_allowed=True), None),
        (answer(HTML, "403 Forbidden"), API, Seen.HTTP_CONTENT),
        (answer(HTML, "451 Legal"), API, Seen.HTTP_CONTENT),
        (answer(HTML, "302 Found"), API, Seen.HTTP_CONTENT),
        (answer(HTML, "404 Not Found"), API, Seen.HTTP_STATUS),
        (answer(HTML, "400 Bad"), Expectation(statuses=(400,)), Seen.HTTP_CONTENT),
        (answer(b"", "403 Forbidden"), API, Seen.HTTP_STATUS),
        (answer(b"", "302 Found", "Location: http://portal.example/"), API, Seen.HTTP_STATUS),
        (answer(b"", "407 Auth"), Expectation(), Seen.HTTP_STATUS),
        (answer(HTML, "407 Auth"), Expectation(html_allowed=True), Seen.HTTP_STATUS),
        (answer(HTML, "511 Network Authentication Required"), Expectation(), Seen.HTTP_STATUS),
        (answer(HTML, "403 F"), Expectation(kind=Kind.PLAIN, html_allowed=True), Seen.HTTP_CONTENT),
        (answer(HTML, "200 OK"), Expectation(kind=Kind.PLAIN, html_allowed=True), None),
        (answer(b"", "403 F"), Expectation(kind=Kind.PLAIN, html_allowed=True), Seen.HTTP_STATUS),
        (answer(b"", "451 L"), Expectation(kind=Kind.PLAIN, html_allowed=True), Seen.HTTP_STATUS),
        (answer(b"", "403 F"), Expectation(kind=Kind.PLAIN, statuses=(403,)), None),
        (answer(b"", "404 N"), Expectation(kind=Kind.PLAIN, html_allowed=True), None),
        (
            answer(b"x", "503 S", "X-Squid-Error: ERR_DNS_FAIL 0"),
            Expectation(html_allowed=True),
            Seen.HTTP_STATUS,
        ),
        (
            answer(b"x", "200 S", "X-Squid-Error: ERR_ACCESS_DENIED 0"),
            Expectation(html_allowed=True),
            Seen.HTTP_CONTENT,
        ),
        (answer(b"x", "502 B", "Proxy-Status: p; error=dns_error"), Expectation(), Seen.HTTP_STATUS),
        (
            answer(b"Action: Deny. Reason: No rule matched.", "470 X"),
            Expectation(html_allowed=True),
            Seen.HTTP_CONTENT,
        ),
        (
            answer(b"Microsoft Connect Test"),
            Expectation(Kind.PORTAL_CHECK, body_contains="Microsoft Connect Test"),
            None,
        ),
    ],
)
def test_judgements(got: bytes, expected: Expectation, seen: Seen | None) -> None:
    assert ask(got, expectation=expected).seen is seen


def test_a_gateways_own_error_is_not_any_status() -> None:
    request = HttpRequest("http://x.example/", absolute_form=True)
    plain = Expectation(kind=Kind.PLAIN, html_allowed=True)
    assert (
        ask(answer(HTML, "500 Unable to connect"), request=request, expectation=plain).seen
        is Seen.HTTP_STATUS
    )
    assert ask(answer(HTML, "404 Not Found"), request=request, expectation=plain).seen is None


def test_evidence() -> None:
    seen = ask(
        answer(
            HTML,
            "403 Forbidden",
            "Content-Type: text/html; charset=utf-8",
            "Server: box",
            "Via: 1.1 a",
            "via: 1.1 b",
            "Date: Thu, 01 Jan 2026 00:10:00 GMT",
            "X-Web-Filter-Category: 7",
            "Set-Cookie: secret",
            "X-Other: y",
        ),
        expectation=API,
        role=Role.RETRY,
    )
    evidence = seen.evidence
    assert (seen.step, seen.role) == (Step.HTTP_ROUND_TRIP, Role.RETRY)
    assert (evidence["status"], evidence["reason"], evidence["http_version"]) == (403, "Forbidden", "1.1")
    assert evidence["headers"] == {
        "content-length": str(len(HTML)),
        "content-type": "text/html; charset=utf-8",
        "server": "box",
        "via": "1.1 a, 1.1 b",
        "date": "Thu, 01 Jan 2026 00:10:00 GMT",
        "x-web-filter-category": "7",
    }
    assert (evidence["title"], evidence["body_start"], evidence["html"]) == (
        "Blocked",
        "by policy 4711",
        True,
    )
    assert evidence["length"] == len(HTML)
    assert evidence["skew_s"] == 600.0
    assert "secret" not in repr(evidence)


@pytest.mark.parametrize(
    "header",
    [
        "Date: yesterday",
        "Date: ",
        "Date: Thu, 01 Jan 2026 99:00:00 GMT",
    ],
)
def test_dates_that_are_none(header: str) -> None:
    assert "skew_s" not in ask(answer(b"", "200 OK", header)).evidence


def test_a_cached_answer_says_nothing_of_the_clock() -> None:
    got = answer(b"", "200 OK", "Date: Thu, 01 Jan 2026 00:10:00 GMT", "Age: 5")
    assert "skew_s" not in ask(got).evidence


PLAIN = Expectation(kind=Kind.PLAIN, html_allowed=True)
AWAY, HOME = "Location: http://portal.hotel.test/login", "Location: https://api.example/ping"


@pytest.mark.parametrize(
    ("got", "expected", "seen"),
    [
        (answer(b"", "302 Found", AWAY), PLAIN, Seen.HTTP_STATUS),
        (answer(HTML, "307 Temporary Redirect", AWAY), PLAIN, Seen.HTTP_STATUS),
        (answer(b"", "302 Found", AWAY), Expectation(kind=Kind.PLAIN, statuses=(200,)), Seen.HTTP_STATUS),
        (answer(b"", "302 Found", AWAY), Expectation(kind=Kind.PLAIN, statuses=(302,)), None),
        (answer(b"", "302 Found", HOME), PLAIN, None),
        (answer(b"", "302 Found", "Location: /elsewhere"), PLAIN, None),
        (answer(b"", "302 Found"), PLAIN, None),
        (answer(b"", "200 OK", AWAY), PLAIN, None),
    ],
)
def test_redirects_in_clear_text(got: bytes, expected: Expectation, seen: Seen | None) -> None:
    observation = ask(got, expectation=expected, request=HttpRequest("http://api.example/ping"))
    assert observation.seen is seen
    led = AWAY.encode() in got and b" 200 " not in got
    assert observation.evidence.get("leads_to") == ("portal.hotel.test" if led else None)


def test_inside_tls_a_service_may_send_its_clients_where_it_likes() -> None:
    observation = ask(answer(b"", "302 Found", AWAY), expectation=ANY)
    assert (observation.seen, observation.evidence["leads_to"]) == (None, "portal.hotel.test")


def test_a_long_location_hides_nothing_and_is_kept_short() -> None:
    long = f"Location: http://{'x' * 400}@evil.test/{'y' * 400}"
    request = HttpRequest("http://api.example/ping")
    observation = ask(answer(b"", "302 Found", long), expectation=PLAIN, request=request)
    assert (observation.seen, observation.evidence["leads_to"]) == (Seen.HTTP_STATUS, "evil.test")
    odd = ask(answer(b"", "302 F", f"Location: z:{'y' * 400}"), expectation=PLAIN, request=request)
    assert len(str(odd.evidence["leads_to"])) == 300


# ---- answers that are none -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "garbage",
    [
        b"<html><title>Sign in</title>no status line",
        b"220 mail.example ESMTP\r\n",
        b"\x15\x03\x03\x00\x02\x02\x28",
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/99 200 OK\r\n\r\n",
        b"HTTP/1.1 9999 X\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nBad Header: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: " + b"a" * 70000,
        b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 20000,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 50,
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    ],
)
def test_what_is_no_http(garbage: bytes) -> None:
    seen = ask(garbage)
    assert seen.seen is Seen.HTTP_PROTOCOL
    assert seen.evidence["error"]


def test_html_without_a_status_line_is_read_all_the_same() -> None:
    seen = ask(b"<html><title>Sign in</title><p>first")
    assert (seen.evidence["title"], seen.evidence["body_start"]) == ("Sign in", "first")
    assert "status" not in seen.evidence


def test_ends_resets_and_silence() -> None:
    assert ask().seen is Seen.EOF
    assert ask(ConnectionResetError(104, "x")).seen is Seen.CONNECTION_RESET
    assert ask(ConnectionResetError(104, "x")).evidence["errno"] == "ECONNRESET"
    seen = ask(None, budget_s=0.05)
    assert seen.seen is Seen.TIMEOUT
    seen = ask(answer(b"abc")[:-1])
    assert (seen.seen, seen.evidence["status"], seen.evidence["length"]) == (Seen.EOF, 200, 2)
    seen = ask(b"HTTP/1.1 200 OK\r\n")
    assert seen.seen in (Seen.EOF, Seen.HTTP_PROTOCOL)


def test_a_body_that_stops_coming_keeps_what_came() -> None:
    seen = ask(answer(b"x" * 100)[:-50], None, budget_s=0.05, expectation=API)
    assert (seen.seen, seen.evidence["status"], seen.evidence["length"]) == (Seen.TIMEOUT, 200, 50)


def test_a_body_without_end_is_read_to_the_limit() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"8000\r\n" + b"O" * 0x8000 + b"\r\n"
    seen = ask(head, *[chunk] * 5, None, expectation=Expectation(statuses=(200,)))
    assert (seen.seen, seen.evidence["length"]) == (None, MAX_BODY)
    rate = seen.evidence["slow_bytes_per_s"]
    assert isinstance(rate, int)
    assert rate > 0


def test_interim_answers_are_passed_over() -> None:
    assert ask(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", answer()).seen is None


def test_a_body_until_the_end_of_the_connection() -> None:
    seen = ask(b"HTTP/1.0 200 OK\r\n\r\nO", b"K", expectation=API)
    assert (seen.seen, seen.evidence["http_version"]) == (None, "1.0")


def test_one_byte_at_a_time() -> None:
    assert ask(*[bytes([byte]) for byte in answer()], expectation=API).seen is None


def test_head_has_no_body() -> None:
    got = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"
    seen = ask(got, request=HttpRequest(URL, method="HEAD"), expectation=API)
    assert (seen.seen, seen.evidence["length"]) == (None, 0)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.binary(max_size=60)
        | st.sampled_from(
            [
                b"HTTP/1.1 200 OK\r\n",
                b"\r\n",
                b"Transfer-Encoding: chunked\r\n\r\n",
                b"5\r\nhello\r\n",
                b"0\r\n\r\n",
            ]
        ),
        max_size=8,
    )
)
def test_any_bytes_give_an_observation(chunks: list[bytes]) -> None:
    seen = ask(*[chunk for chunk in chunks if chunk])
    assert seen.step is Step.HTTP_ROUND_TRIP


# ---- echo ------------------------------------------------------------------------------------------------


def echo(change: Any) -> Observation:
    class Helper(Prepared):
        async def receive(self, limit: int = 65536) -> bytes:
            await asyncio.sleep(0)
            lines = self.sent.split(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
            got = change([line.split(": ", 1) for line in lines])
            return answer(json.dumps({"headers": got}).encode())

    return ask(stream=Helper([]), request=HttpRequest("http://helper/", echo=True))


def test_headers_that_arrive_untouched() -> None:
    seen = echo(lambda headers: headers[::-1])
    assert (seen.seen, seen.evidence["tampered"]) == (None, [])


def test_headers_changed_dropped_and_added() -> None:
    def change(headers: list[list[str]]) -> list[list[str]]:
        changed = [["user-agent", headers[1][1]], ["Accept", "text/html"], *headers[3:], ["Via", "1.1 box"]]
        return [headers[0], *changed]

    tampered = echo(change).evidence["tampered"]
    assert isinstance(tampered, list)
    lines = [(each["header"], each["sent"].split(":")[0], each["got"]) for each in tampered]
    assert lines[1:] == [("Accept", "Accept", "Accept: text/html"), ("Via", "", "Via: 1.1 box")]
    assert lines[0][0] == "User-Agent"
    assert lines[0][2].startswith("user-agent: host-isolator-check")
    dropped = echo(lambda headers: headers[:-1]).evidence["tampered"]
    assert dropped == [{"header": "Connection", "sent": "Connection: close", "got": ""}]


@pytest.mark.parametrize(
    "body",
    [b"", b"OK", b"[]", b'{"headers": 5}', b'{"headers": [["a"]]}', b'{"headers": [[1, 2]]}', b"[" * 9000],
)
def test_an_echo_that_is_none(body: bytes) -> None:
    seen = ask(answer(body), request=HttpRequest("http://helper/", echo=True))
    assert seen.seen is Seen.HTTP_CONTENT
    assert "tampered" not in seen.evidence
