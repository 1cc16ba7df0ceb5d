"""Records what real clients say first: `python -m tests.corpus.record_hellos` writes tests/corpus/{tls,http}.

Names of captures behind it: only those. Everything happens on the loopback interface with example names. A
relay takes each client's connection, notes its first bytes and hands it to `openssl s_server`, so that
sessions can be resumed. Clients that are not installed are left out, with a line that says so.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import trustme

from tests.lab.doh import HiddenZone, answers_over_https, ech_keys, serve_tls

NAME = "www.listed.test"
PUBLIC = "public.provider.test"
"""Whom an encrypted hello names in the open."""
HERE = Path(__file__).parent
QUIET_S = 0.3
"""A first flight is over when nothing came for so long."""


class Relay:
    """Listens on loopback; keeps the first flight of each connection (and of a CONNECT before it)."""

    def __init__(self, upstream: int) -> None:
        self.flights: list[bytes] = []
        self.heads: list[bytes] = []
        self._upstream = upstream
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._handle, args=(client,), daemon=True).start()

    def _handle(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            flight = _read_flight(client)
            if flight[:1].isalpha():
                self.heads.append(flight)
                if not flight.startswith(b"CONNECT"):
                    client.sendall(
                        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                    )
                    return
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                flight = _read_flight(client)
            if not flight:
                return
            self.flights.append(flight)
            with socket.create_connection(("127.0.0.1", self._upstream)) as server:
                server.sendall(flight)
                threading.Thread(target=_pump, args=(server, client), daemon=True).start()
                _pump(client, server)


def _read_flight(client: socket.socket) -> bytes:
    client.settimeout(5)
    data = client.recv(65536)
    client.settimeout(QUIET_S)
    with contextlib.suppress(TimeoutError):
        while piece := client.recv(65536):
            data += piece
    return data


def _pump(source: socket.socket, sink: socket.socket) -> None:
    source.settimeout(5)
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


def _run(*command: str, text: str = "") -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(command, input=text, text=True, capture_output=True, timeout=25)


def _s_client(port: int, *options: str) -> None:
    name = () if "-noservername" in options else ("-servername", NAME)
    _run("openssl", "s_client", "-connect", f"127.0.0.1:{port}", *name, *options, text="Q\n")


def _resumed(port: int, folder: str, *options: str, last: tuple[str, ...] = ()) -> None:
    """Two connections; the first gets the ticket that the second shows."""
    session = f"{folder}/session"
    first = ("openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", NAME, *options)
    with subprocess.Popen(
        (*first, "-sess_out", session),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as client:
        time.sleep(1.5)  # TLS 1.3 tickets come after the handshake
        client.communicate(b"Q\n", timeout=10)
    _s_client(port, *options, "-sess_in", session, *last)


_PYTHON = """
import socket, ssl, sys, urllib.request as web
found = socket.getaddrinfo
socket.getaddrinfo = lambda host, *rest, **more: found("127.0.0.1", *rest, **more)
handlers = [web.HTTPSHandler(context=ssl._create_unverified_context())]
handlers += [web.ProxyHandler({"https": via}) for via in sys.argv[2:]]
web.build_opener(*handlers).open(sys.argv[1], timeout=3)
"""


def _python(port: int, *, proxy: bool = False) -> None:
    via = (f"http://127.0.0.1:{port}",) if proxy else ()
    _run(sys.executable, "-c", _PYTHON, f"https://{NAME}/" if proxy else f"https://{NAME}:{port}/", *via)


def _java(port: int, folder: str) -> None:
    hosts = Path(folder, "hosts")
    hosts.write_text(f"127.0.0.1 {NAME}\n", encoding="utf-8")
    _run("keytool", f"-J-Djdk.net.hosts.file={hosts}", "-printcert", "-sslserver", f"{NAME}:{port}")


_NODE = """
const [port, servername] = process.argv.slice(1);
const options = { port, host: '127.0.0.1', servername, ALPNProtocols: ['h2', 'http/1.1'] };
require('tls').connect({ ...options, rejectUnauthorized: false }, function () { this.end() });
"""


def _node(port: int) -> None:
    _run("node", "-e", _NODE, str(port), NAME)


def _wget(port: int, scheme: str) -> None:
    proxy = f"{scheme}_proxy=http://127.0.0.1:{port}"
    _run("wget", "-qO-", "-t1", "-T3", "-e", proxy, f"{scheme}://{NAME}/pki/x.crl")


def _chromium(port: int, folder: str, scheme: str = "https") -> None:
    _browse(Path(folder, "profile"), f"{scheme}://{NAME}/", f"--host-resolver-rules=MAP * 127.0.0.1:{port}")


def _browse(profile: Path, url: str, *options: str) -> None:
    _run(
        "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--ignore-certificate-errors",
        "--disable-background-networking", "--disable-component-update", "--no-first-run",
        f"--user-data-dir={profile}", *options, "--timeout=4000", "--dump-dom", url,
    )  # fmt: skip


def _chromium_hidden(port: int, folder: str) -> None:
    """Its encrypted hello is real: a resolver over HTTPS gives it the keys (RFC 9849)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{folder}/cert.pem", f"{folder}/key.pem")
    zone = HiddenZone({NAME: "127.0.0.1", PUBLIC: "127.0.0.1"}, {NAME: ech_keys(PUBLIC)})
    profile = Path(folder, "hidden")
    profile.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as resolver:
        serve_tls(resolver, context, answers_over_https(zone.answer))
        where = f"https://127.0.0.1:{resolver.getsockname()[1]}/dns-query"
        secure = {"dns_over_https": {"mode": "secure", "templates": where}}
        profile.joinpath("Local State").write_text(json.dumps(secure), encoding="utf-8")
        _browse(profile, f"https://{NAME}:{port}/")


def _curl(port: int, *options: str, url: str = f"https://{NAME}/", proxy: bool = False) -> None:
    where = ("-x", f"127.0.0.1:{port}") if proxy else ("--connect-to", f"::127.0.0.1:{port}")
    _run("curl", "-sk", "-m", "5", *where, *options, url)


Speaker = Callable[[int], None]


def _openssl_clients(folder: str) -> dict[str, tuple[str, Speaker]]:
    weak = ("-cipher", "ALL:@SECLEVEL=0")
    wide = ("-max_send_frag", "512", "-alpn", "a" * 200)
    early = ("-early_data", f"{folder}/cert.pem")
    speakers: dict[str, Speaker] = {
        "default": _s_client,
        "tls10": lambda port: _s_client(port, "-tls1", *weak),
        "tls11": lambda port: _s_client(port, "-tls1_1", *weak),
        "tls12": lambda port: _s_client(port, "-tls1_2"),
        "tls13": lambda port: _s_client(port, "-tls1_3", "-alpn", "h2,http/1.1"),
        "no_name": lambda port: _s_client(port, "-noservername"),
        "resumed": lambda port: _resumed(port, folder),
        "resumed_tls12": lambda port: _resumed(port, folder, "-tls1_2"),
        "early_data": lambda port: _resumed(port, folder, "-tls1_3", last=early),
        "fragments": lambda port: _s_client(port, *wide),
    }
    return {f"openssl_{name}": ("openssl", speaker) for name, speaker in speakers.items()}


def _clients(folder: str) -> dict[str, tuple[str, Speaker]]:
    """By name of the capture: the program it needs, and how to make it speak."""
    plain = f"http://{NAME}/pki/a%20b.crl?x=1"
    return {
        **_openssl_clients(folder),
        "curl_default": ("curl", _curl),
        "curl_http11": ("curl", lambda port: _curl(port, "--http1.1", "--tls-max", "1.2")),
        "curl_http": ("curl", lambda port: _curl(port, url=plain)),
        "curl_proxy": ("curl", lambda port: _curl(port, "-U", "user:secret", proxy=True)),
        "curl_proxy_http": ("curl", lambda port: _curl(port, url=plain, proxy=True)),
        "wget_gnutls": ("wget", lambda port: _wget(port, "https")),
        "wget_http": ("wget", lambda port: _wget(port, "http")),
        "python_urllib": ("python3", _python),
        "python_proxy": ("python3", lambda port: _python(port, proxy=True)),
        "java_keytool": ("keytool", lambda port: _java(port, folder)),
        "node_tls": ("node", _node),
        "chromium": ("chromium", lambda port: _chromium(port, folder)),
        "chromium_ech": ("chromium", lambda port: _chromium_hidden(port, folder)),
        "chromium_http": ("chromium", lambda port: _chromium(port, folder, "http")),
    }


def _server(folder: str) -> tuple[subprocess.Popen[bytes], int]:
    certificate = trustme.CA().issue_cert(NAME)
    certificate.private_key_pem.write_to_path(f"{folder}/key.pem")
    certificate.cert_chain_pems[0].write_to_path(f"{folder}/cert.pem")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    server = subprocess.Popen(
        ("openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", f"{folder}/cert.pem",
         "-key", f"{folder}/key.pem", "-quiet", "-early_data", "-cipher", "ALL:@SECLEVEL=0"),
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    time.sleep(0.5)
    return server, port


def record(only: Sequence[str] = ()) -> None:
    """Run every client that is installed, or only those named, and write what it said."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        server, upstream = _server(folder)
        try:
            for name, (program, speak) in _clients(folder).items():
                if only and name not in only:
                    continue
                if shutil.which(program) is None:
                    print(f"{name}: {program} is not installed")
                    continue
                relay = Relay(upstream)
                speak(relay.port)
                relay.close()
                _write("tls", name, relay.flights)
                _write("http", name, relay.heads)
                print(
                    f"{name}: {[len(each) for each in relay.flights]} {[len(each) for each in relay.heads]}"
                )
        finally:
            assert server.stdin is not None
            server.stdin.close()
            server.kill()
            server.wait()


def _write(kind: str, name: str, heard: list[bytes]) -> None:
    """Keep the last one (of two connections the second resumes the first) that is about the example.

    A browser also calls its maker; what it says there is nobody's business.
    """
    named = (PUBLIC if name.endswith("_ech") else NAME).encode()
    flights = [each for each in heard if named in each or name.endswith("no_name")]
    if flights:
        HERE.joinpath(kind).mkdir(exist_ok=True)
        HERE.joinpath(kind, f"{name}.bin").write_bytes(flights[-1])


if __name__ == "__main__":
    record(sys.argv[1:])
