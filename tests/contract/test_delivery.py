"""A report handed to the controller: taken, refused, too slow, or led elsewhere."""

from __future__ import annotations

import http.server
import re
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import pytest
import trustme

from connectivity_check.delivery import checked_token, checked_url, deliver
from connectivity_check.model import InputError

TOKEN = "a-secret-token"


class Controller(http.server.BaseHTTPRequestHandler):
    """Answers as `mode` says and remembers what it got."""

    mode: ClassVar[str] = "take"
    got: ClassVar[list[tuple[str, str | None, bytes]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert re.fullmatch(r"host-isolator-check/\d\S*", self.headers["User-Agent"])
        Controller.got.append((self.path, self.headers["Authorization"], body))
        if self.mode == "trickle":
            self._trickle()
            return
        self.send_response({"take": 201, "refuse": 403, "elsewhere": 307}[self.mode])
        if self.mode == "elsewhere":
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_address[1]}/thief")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _trickle(self) -> None:
        """One byte at a time: no socket timeout ever ends this."""
        end = time.monotonic() + 3
        try:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
            while time.monotonic() < end:
                self.wfile.write(b"x")
                time.sleep(0.05)
        except OSError:
            pass

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def controller(mode: str, context: ssl.SSLContext | None = None) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Controller)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    Controller.mode, Controller.got = mode, []
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"{'https' if context else 'http'}://127.0.0.1:{server.server_address[1]}/reports"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def test_it_is_taken_with_the_token() -> None:
    with controller("take") as url:
        assert deliver(b'{"schema": 1}', url, TOKEN) == ""
    assert Controller.got == [("/reports", f"Bearer {TOKEN}", b'{"schema": 1}')]


def test_a_refusal_says_the_status() -> None:
    with controller("refuse") as url:
        assert deliver(b"{}", url, TOKEN) == "it answered 403"


def test_the_token_follows_no_redirect() -> None:
    with controller("elsewhere") as url:
        assert deliver(b"{}", url, TOKEN) == "it answered 307"
    assert [path for path, _, _ in Controller.got] == ["/reports"]


def test_a_server_that_trickles_is_left_at_the_deadline() -> None:
    with controller("trickle") as url:
        before = time.monotonic()
        assert "no answer in 0.5 s" in deliver(b"{}", url, TOKEN, deadline_s=0.5)
        assert time.monotonic() - before < 2


def test_nobody_there() -> None:
    with controller("take") as url:
        pass
    why = deliver(b"{}", url, TOKEN)
    assert "refused" in why
    assert TOKEN not in why


def test_an_unknown_authority_gets_no_token_and_one_that_is_given_does(tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with controller("take", context) as url:
        assert "certificate" in deliver(b"{}", url, TOKEN).lower()
        assert Controller.got == []
        assert deliver(b"{}", url, TOKEN, ca_file=str(tmp_path / "ca.pem")) == ""
        assert "No such file" in deliver(b"{}", url, TOKEN, ca_file=str(tmp_path / "none.pem"))


@pytest.mark.parametrize("url", [
    "controller.example", "ftp://controller.example", "https://", "https://controller.example:70000/", "https://[::1/",
    "http://controller.example/", "https://user:pw@controller.example/", "https://c.example/a b", "https://c.example/\n", "file:///etc/passwd",
])  # fmt: skip
def test_urls_that_are_refused_before_the_run(url: str) -> None:
    with pytest.raises(InputError) as caught:
        checked_url(url)
    assert "--report-to" in caught.value.reason
    assert "pw" not in caught.value.reason


@pytest.mark.parametrize(
    "url", ["https://c.example/x", "http://127.0.0.1:80/", "http://[::1]/", "http://localhost/"]
)
def test_urls_that_are_fine(url: str) -> None:
    assert checked_url(url) == url


@pytest.mark.parametrize("token", ["two\nlines", "secret\r\nX: y", "caf\u00e9", " secret", "secret\n"])
def test_tokens_that_fit_into_no_header(token: str) -> None:
    with pytest.raises(InputError) as caught:
        checked_token(token)
    assert token.strip() not in caught.value.reason
