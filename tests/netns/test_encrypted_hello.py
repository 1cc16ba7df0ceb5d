"""Encrypted ClientHello (RFC 9849) by a browser that nobody here wrote: Debian's Chromium.

Its keys come in HTTPS records, over DNS or, with a resolver over HTTPS that somebody has listed, past our own
check of queries. Then the hello on the wire names its provider and nobody knows whom it is for.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from isolator.model.tls import Ech
from isolator.wire.tls_hello import parse_hello
from tests.e2e import orders
from tests.e2e.own_list import Row, write_list
from tests.lab import Host, Lab, topology
from tests.lab.agent import Agent
from tests.lab.doh import HiddenZone, answers_over_https, ech_keys, serve_tls
from tests.lab.rogue import Asked, Reply

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="lab.program_missing: chromium"),
]

NAME, PUBLIC, DOH = "api.vendor.example", "public.provider.example", "doh.vendor.example"
ADDRESS, DOH_ADDRESS = "20.93.0.1", "20.93.0.9"
PAGE = "a page of the vendor"
_LONGEST_HELLO_S = 2
_PATIENT = "/".join(
    f"UseDnsHttpsSvcb{kind}ExtraTime{bound}/{value}"
    for kind in ("Secure", "Insecure")
    for bound, value in (("Min", "10s"), ("Max", "10s"), ("Percent", "1000"))
)
"""A browser that has addresses waits some 50 ms more for the HTTPS record; a busy machine takes longer."""

Hello = tuple[str | None, bool]
"""The server name in the open, and whether there is an encrypted hello or the decoy of one."""
Free = dict[str, tuple[str, list[Hello]]]


@dataclass(slots=True)
class Scene:
    """A site whose name can be hidden, and what it has heard."""

    lab: Lab
    zone: HiddenZone
    trusted: str
    """Hashes of the keys that the browser takes without asking who vouches for them."""
    heard: list[Hello] = field(default_factory=list)

    def browse(self, label: str, *, over_https: bool) -> str:
        """Let a browser that has seen nothing yet fetch the page; gives all it says."""
        directory = self.lab.directory / label
        profile = directory / "profile"
        profile.mkdir(parents=True)
        if over_https:
            secure = {"mode": "secure", "templates": f"https://{DOH}/dns-query"}
            (profile / "Local State").write_text(json.dumps({"dns_over_https": secure}))
        self.heard.clear()
        self.zone.asked.clear()
        argv = [
            "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--disable-background-networking", "--disable-component-update", "--no-first-run",
            f"--enable-features=UseDnsHttpsSvcb:{_PATIENT}",
            f"--ignore-certificate-errors-spki-list={self.trusted}", f"--user-data-dir={profile}",
            "--dump-dom", f"https://{NAME}/",
        ]  # fmt: skip
        done = self.lab.device.run(argv, 120, env={**os.environ, "HOME": str(directory)})
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with Lab(servers=False) as lab, lab.internet.socket(socket.AF_INET) as site:
        lab.authority.prepare()
        certificate = lab.authority.issue("hidden", (NAME, PUBLIC, DOH))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.pem)
        zone = HiddenZone({NAME: ADDRESS, PUBLIC: ADDRESS, DOH: DOH_ADDRESS}, {NAME: ech_keys(PUBLIC)})
        made = Scene(lab, zone, _hashes(certificate.pem))
        with lab.internet.socket(socket.AF_INET) as over_https:
            for listener, address in ((site, ADDRESS), (over_https, DOH_ADDRESS)):
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind((address, 443))
                listener.listen(32)
            serve_tls(over_https, context, answers_over_https(zone.answer))
            serve_tls(site, context, _page, lambda connection: made.heard.append(_read_hello(connection)))
            lab.resolver.put(Host(NAME, (ADDRESS,)), Host(DOH, (DOH_ADDRESS,)))
            yield made


@pytest.fixture(scope="module")
def free(scene: Scene) -> Free:
    """What the browser said and the site heard without isolation, by how names were asked for."""
    found: Free = {}
    said = scene.browse("free-https", over_https=True)
    found["over https"] = said, list(scene.heard)
    with PlainResolver(scene):
        said = scene.browse("free-plain", over_https=False)
        found["plain"] = said, list(scene.heard)
    return found


@pytest.fixture(scope="module")
def agent(scene: Scene, free: object) -> Iterator[Agent]:
    policy = write_list(scene.lab.directory / "own.yaml", [Row(NAME), Row(DOH)])
    servers = [topology.ADDRESSES[topology.ROUTER].v4, topology.SECOND_RESOLVER.v4]
    with scene.lab.agent(f"lists: [{policy}]\nresolvers: {servers}\n") as running:
        orders.isolate(running)
        for name in (NAME, DOH):
            assert scene.lab.reach_from(scene.lab.device, timeout_s=5).dns(name).ok
        yield running
        orders.release(running)


class PlainResolver:
    """The device asks a resolver that has the HTTPS record, over plain DNS."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._rogue = scene.lab.rogue_resolver(self._answer)

    def _answer(self, asked: Asked) -> Iterator[Reply]:
        yield Reply(self._scene.zone.answer(asked.payload))

    def __enter__(self) -> None:
        self._scene.lab.set_resolvers([topology.SECOND_RESOLVER.v4])

    def __exit__(self, *_: object) -> None:
        router = topology.ADDRESSES[topology.ROUTER]
        self._scene.lab.set_resolvers([router.v4, router.v6])
        self._rogue.close()


def _hashes(chain: Path) -> str:
    keys = [each.public_key() for each in x509.load_pem_x509_certificates(chain.read_bytes())]
    raw = [each.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) for each in keys]
    return ",".join(base64.b64encode(hashlib.sha256(each).digest()).decode() for each in raw)


def _read_hello(connection: socket.socket) -> Hello:
    """Look at the hello and leave it where it is."""
    until = time.monotonic() + _LONGEST_HELLO_S
    while time.monotonic() < until:
        hello = parse_hello(connection.recv(1 << 16, socket.MSG_PEEK))
        if hello is not None:
            return hello.server_name, hello.ech is Ech.OUTER
        time.sleep(0.02)
    return None, False


def _page(secure: ssl.SSLSocket) -> None:
    secure.recv(1 << 16)
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(PAGE)}\r\nConnection: close\r\n\r\n"
    secure.sendall(head.encode() + PAGE.encode())


def dropped(agent: Agent, reason: str) -> int:
    return int(orders.status(agent)["counters"]["dropped"].get(reason, 0))


@pytest.mark.parametrize("asked", ["over https", "plain"])
def test_without_isolation_the_name_is_hidden(free: Free, asked: str) -> None:
    """Positive control: the real one arrives. The server has no keys, so the browser comes again with a decoy."""
    said, heard = free[asked]
    assert (PUBLIC, True) in heard
    assert (NAME, True) in heard
    assert PAGE in said


def test_a_real_one_is_refused(scene: Scene, agent: Agent) -> None:
    """The address is open for the very name that is meant, and nobody can know that."""
    before = dropped(agent, "tls_ech_refused")
    said = scene.browse("isolated-https", over_https=True)
    assert (NAME, "HTTPS") in scene.zone.asked, "it has the keys"
    assert scene.heard == []
    assert PAGE not in said
    assert dropped(agent, "tls_ech_refused") > before


def test_over_plain_dns_it_gets_no_keys_and_its_decoy_passes(scene: Scene, agent: Agent) -> None:
    before = dropped(agent, "dns_type_withheld")
    with PlainResolver(scene):
        said = scene.browse("isolated-plain", over_https=False)
    assert PAGE in said
    assert set(scene.heard) == {(NAME, True)}
    assert (NAME, "A") in scene.zone.asked
    assert (NAME, "HTTPS") not in scene.zone.asked
    assert dropped(agent, "dns_type_withheld") > before, "it did ask"
