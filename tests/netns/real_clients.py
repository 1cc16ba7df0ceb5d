"""Programs that nobody here wrote, as clients: how each is told to fetch a page, and how it says "reset".

Each trusts the lab's authority and finds names as it does on any host, so a name that is to lead elsewhere
stands in the /etc/hosts of its own mount namespace.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab.namespace import Namespace

_PATIENCE_S = 20
"""What the clients are told to wait at most: a refusal is a reset and comes long before."""

_PYTHON = """
import ssl, sys, urllib.request as web
context = ssl.create_default_context(cafile=sys.argv[2])
print(web.urlopen(sys.argv[1], timeout=20, context=context).read().decode())
"""
_NODE = """
require('https').get(process.argv[1], answer => answer.pipe(process.stdout))
    .on('error', error => { console.error(error.code); process.exit(1) });
"""
_JAVA = """
public class Fetch {
    public static void main(String[] words) throws Exception {
        var page = new java.net.URL(words[0]).openConnection();
        page.setConnectTimeout(20000);
        page.setReadTimeout(20000);
        System.out.println(new String(page.getInputStream().readAllBytes()));
    }
}
"""
_GO = """
package main

import ("fmt"; "io"; "net/http"; "os"; "time")

func main() {
    answer, err := (&http.Client{Timeout: 20 * time.Second}).Get(os.Args[1])
    if err != nil { fmt.Println(err); os.Exit(1) }
    page, _ := io.ReadAll(answer.Body)
    fmt.Println(string(page))
}
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the clients run, whom they trust, and a directory for what they need."""

    device: Namespace
    ca: Path
    directory: Path


@dataclass(frozen=True, slots=True)
class Client:
    """One program."""

    program: str
    command: Callable[[Place, str], Sequence[str]]
    """The command line for an URL."""
    reset: str
    """A part of what it says when its connection is reset."""
    prepare: Callable[[Place], None] = lambda _: None
    environment: Callable[[Place], Mapping[str, str]] = field(default=lambda _: {})
    hides: bool = False
    """Does it send the decoy of an encrypted hello?"""

    def fetch(self, place: Place, url: str, hosts: Mapping[str, str]) -> str:
        """Fetch a page and give all the program said; `hosts` are addresses by name, before any resolver."""
        lines = "".join(f"{address} {name}\n" for name, address in hosts.items())
        file = place.directory / "hosts"
        file.write_text(f"127.0.0.1 localhost\n{lines}")
        own_hosts = 'mount --bind "$1" /etc/hosts; shift; exec "$@"'
        argv = ["unshare", "--mount", "sh", "-ec", own_hosts, "sh", str(file), *self.command(place, url)]
        environment = {**os.environ, "HOME": str(place.directory), **self.environment(place)}
        done = place.device.run(argv, 4 * _PATIENCE_S, env=environment)
        return done.stdout + done.stderr


def _curl(*options: str) -> Client:
    return Client(
        "curl",
        lambda place, url: ["curl", "-sS", "-m", str(_PATIENCE_S), "--cacert", str(place.ca), *options, url],
        "reset by peer",
    )


def _wget(place: Place, url: str) -> Sequence[str]:
    return ["wget", "-nv", "-O-", "-t1", f"-T{_PATIENCE_S}", "--no-hsts", f"--ca-certificate={place.ca}", url]


def _chromium(place: Place, url: str) -> Sequence[str]:
    return [
        "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--ignore-certificate-errors",
        "--disable-background-networking", "--disable-component-update", "--no-first-run",
        "--disable-dev-shm-usage", f"--user-data-dir={place.directory}/profile", "--dump-dom", url,
    ]  # fmt: skip


def _build(place: Place, source: str, text: str, *command: str) -> None:
    place.directory.joinpath(source).write_text(text)
    environment = {**os.environ, "HOME": str(place.directory), "GOFLAGS": "-mod=mod", "GO111MODULE": "off"}
    subprocess.run(
        command, cwd=place.directory, env=environment, check=True, capture_output=True, timeout=120
    )


def _prepare_java(place: Place) -> None:
    _build(place, "Fetch.java", _JAVA, "javac", "Fetch.java")
    store = str(place.directory / "trusted.p12")
    keytool = ["keytool", "-importcert", "-noprompt", "-storepass", "changeit", "-keystore", store]
    subprocess.run([*keytool, "-file", str(place.ca)], check=True, capture_output=True, timeout=60)


def _java(place: Place, url: str) -> Sequence[str]:
    trust = (
        f"-Djavax.net.ssl.trustStore={place.directory}/trusted.p12",
        "-Djavax.net.ssl.trustStorePassword=changeit",
    )
    return ["java", *trust, "-cp", str(place.directory), "Fetch", url]


CLIENTS: dict[str, Client] = {
    "curl": _curl(),
    "curl_http11_tls12": _curl("--http1.1", "--tls-max", "1.2"),
    "curl_tls13": _curl("--tlsv1.3"),
    # GnuTLS says no more; when nothing comes at all, wget says that it timed out.
    "wget": Client("wget", _wget, "Error in the pull function"),
    "python": Client(
        "python3",
        lambda place, url: [sys.executable, "-c", _PYTHON, url, str(place.ca)],
        "reset by peer",
    ),
    "node": Client(
        "node",
        lambda _, url: ["node", "-e", _NODE, url],
        "ECONNRESET",
        environment=lambda place: {"NODE_EXTRA_CA_CERTS": str(place.ca)},
    ),
    "java": Client("javac", _java, "Connection reset", _prepare_java),
    "go": Client(
        "go",
        lambda place, url: [str(place.directory / "fetch"), url],
        "reset by peer",
        lambda place: _build(place, "fetch.go", _GO, "go", "build", "fetch.go"),
        lambda place: {"SSL_CERT_FILE": str(place.ca)},
    ),
    "chromium": Client("chromium", _chromium, "ERR_CONNECTION_RESET", hides=True),
}


def missing(client: Client) -> str | None:
    """Why a client cannot be tried here: a code, as the lab's own are."""
    return None if shutil.which(client.program) else f"lab.program_missing: {client.program}"
