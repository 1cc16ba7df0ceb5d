"""Secrets that turn up in a report, and innocent texts that must stay as they are."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from hypothesis import given

from connectivity_check.core.redact import redact, redact_text
from connectivity_check.failure import Failure
from connectivity_check.model import (
    Blocker,
    ConsumerPath,
    Finding,
    Observation,
    PathKind,
    PathSettings,
    ProxyServer,
    Report,
    Route,
    Step,
)
from connectivity_check.render.formats import Format, render_report
from tests.golden.preflight_reports import company, company_rows, many, report_of
from tests.unit.connectivity_check.core.generated_reports import reports


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://user:secret@proxy:3128", "http://proxy:3128"),
        ("http://user@proxy:3128/", "http://proxy:3128/"),
        ("http://us%40er:p%3Aw@proxy:3128", "http://proxy:3128"),
        ("http://user:p@ss@proxy:3128", "http://proxy:3128"),
        ("http://user:pa/ss@proxy:3128", "http://proxy:3128"),
        ("http://user:pa#ss?x@proxy:3128", "http://proxy:3128"),
        ("socks5h://u:p@[2001:db8::1]:1080", "socks5h://[2001:db8::1]:1080"),
        ("PROXY user:secret@proxy:3128; DIRECT", "PROXY proxy:3128; DIRECT"),
        ("user:secret@proxy.corp:8080", "proxy.corp:8080"),
        ("see https://x.example/a?sig=AbC%2F1&b=2", "see https://x.example/a?sig=REDACTED&b=2"),
        ("https://x.example/?a=1&Token=abc#f", "https://x.example/?a=1&Token=REDACTED#f"),
        ("https://x.example/cb?code=4/P7q", "https://x.example/cb?code=REDACTED"),
        ("https://x.example/#access_token=abc.def", "https://x.example/#access_token=REDACTED"),
        ("?x=1&amp;sig=abc", "?x=1&amp;sig=REDACTED"),
        (
            "https://l.example/?r=https%3A%2F%2Fx%3Fsig%3Dabc%26z%3D1",
            "https://l.example/?r=https%3A%2F%2Fx%3Fsig%3DREDACTED%26z%3D1",
        ),
        ("https://s3.example/?X-Amz-Signature=00ff&n=1", "https://s3.example/?X-Amz-Signature=REDACTED&n=1"),
        ("Proxy-Authorization: Basic dXNlcjpwdw==", "Proxy-Authorization: REDACTED"),
        ("authorization:Bearer abc", "authorization:REDACTED"),
        ("Cookie: a=1; b=2\nHost: x", "Cookie: REDACTED\nHost: x"),
        ("Set-Cookie: sid=abc; Secure", "Set-Cookie: REDACTED"),
        ("sent Basic dXNlcjpwYXNz to it", "sent Basic REDACTED to it"),
        ("NTLM TlRMTVNTUAABAAAAB4IIogAAAAA=", "NTLM REDACTED"),
        ("Negotiate YIIJvwYGKwYBBQUCoIIJszCCCa+", "Negotiate REDACTED"),
        ("eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.c2ln", "REDACTED"),
        ("password=hunter2 in the body", "password=REDACTED in the body"),
    ],
)
def test_secrets(text: str, expected: str) -> None:
    assert redact_text(text) == expected
    assert redact_text(expected) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http://proxy:3128",
        "https://x.example:443/path?mail=a@b.example",
        "https://x.example/path@2",
        "https://[2001:db8::1]:443/",
        "the proxy wants ntlm or basic authentication",
        "the proxy demands Negotiate, NTLM and Basic",
        "Basic authentication is not supported",
        "The server wants basic authentication. Negotiate-only proxies do not.",
        "squid/5.7: 407",
        "status code: 403",
        "code=403",
        "error code: ERR_ACCESS_DENIED",
        "X-Squid-Error: ERR_CACHE_ACCESS_DENIED 0",
        "CN=Corp CA, O=Corp, emailAddress=pki@corp.example",
        "Permit tcp/443 to *.wd.example.com on 192.0.2.1 or the next box behind it.",
        "2026-07-01T08:00:00Z",
    ],
)
def test_innocent(text: str) -> None:
    assert redact_text(text) == text


def loaded(secret: str) -> Report:
    """Give a report with a secret in every place that is a text."""
    row = company_rows()[1]
    url = f"http://svc-user:{secret}@proxy.example:3128"
    server = ProxyServer("proxy.example", 3128, username="svc-user", password=secret)
    finding = Finding(
        Failure.PROXY_AUTH, Step.CONNECT, (f"tried {url}",), f"set {url}", Blocker(address=url, name=url)
    )
    evidence = {
        "proxy": url,
        "headers": {"authorization": secret, "Set-Cookie": f"a={secret}", "via": url},
        "tampered": [{"header": "Proxy-Authorization", "sent": secret, "got": ""}],
        "body_start": f"you are svc-user with {secret}",
        "basic": base64.b64encode(f"svc-user:{secret}".encode()).decode(),
        "password": secret,
        url: [url, {"deep": url}],
    }
    seen = Observation(Step.CONNECT, None, evidence, 0.1, via=url)
    row = replace(
        row,
        target=replace(row.target, service=url, route=Route(server, url, (None, server), url)),
        observations=(seen,),
        finding=finding,
        others=(finding,),
    )
    report = report_of(row, findings=(finding,))
    path = PathSettings(PathKind.PROXY, url, url, (ConsumerPath("edr", PathKind.PROXY, url, url),))
    return replace(report, recording=replace(report.recording, path=path, shared=(seen,), host=url))


@pytest.mark.parametrize("kind", Format)
@pytest.mark.parametrize("secret", ["hunter22", "S3cr3t/With+Signs@x"])
def test_no_format_shows_a_secret(kind: Format, secret: str) -> None:
    data = render_report(loaded(secret), kind)
    if kind is Format.XLSX:
        import io
        import zipfile

        with zipfile.ZipFile(io.BytesIO(data)) as book:
            data = b"\n".join(book.read(name) for name in book.namelist())
    assert secret.encode() not in data
    assert base64.b64encode(f"svc-user:{secret}".encode()) not in data


def test_a_short_password_does_not_eat_words() -> None:
    report = loaded("a1b")
    assert redact(report).rows[0].target.pattern == report.rows[0].target.pattern


def test_a_password_that_is_a_word_leaves_names_to_match_by() -> None:
    report = loaded("example")
    assert redact(report).rows[0].target.host == report.rows[0].target.host


def test_a_text_of_a_library_s_own_type_is_a_text() -> None:
    class Quoted(str):
        """Such as a parser gives that remembers where a value stood."""

    report = loaded("a secret")
    seen = Observation(Step.HTTP_ROUND_TRIP, None, {"body": Quoted("?sig=abc")}, 0.1)
    recording = replace(report.recording, observations=((seen,),))
    found = redact(replace(report, recording=recording))
    assert found.recording.observations[0][0].evidence == {"body": "?sig=REDACTED"}


@given(reports())
def test_twice_is_as_once(report: Report) -> None:
    once = redact(report)
    assert redact(once) == once
    assert len(once.rows) == len(report.rows)


def test_a_report_without_secrets_stays_equal() -> None:
    assert redact(company()) == company()
    assert redact(many(500)) == many(500)


def test_hostile_texts_take_no_time() -> None:
    for text in (
        "://" * 20_000,
        "://a:" * 20_000,
        "a:" * 30_000 + "@",
        "?sig=" * 20_000,
        "%3fsig%3d" * 10_000,
        "basic " * 20_000,
        "x:@" * 20_000,
    ):
        redact_text(text)
