"""P6 behind explicit proxies: only requests that name a listed host go to them, in the tunnel as before it.

A real squid with passwords stands on the device's LAN. Each row goes through the kernel; what squid logged
tells what got through to it.
"""

from __future__ import annotations

import base64
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e import orders
from tests.e2e.own_list import Row, write_list
from tests.lab import Lab, world
from tests.lab.agent import Agent
from tests.lab.reach import client_hello
from tests.lab.topology import ADDRESSES, NEIGHBOUR

pytestmark = pytest.mark.netns

LISTED, LISTED_TOO, PAGES, PAGES_ONE = (
    world.EXACT,
    "go.microsoft.com",
    world.CERTIFICATES,
    "www.microsoft.com",
)
HOSTS = {4: ADDRESSES[NEIGHBOUR].v4, 6: ADDRESSES[NEIGHBOUR].v6}
PORT = 3128
USER, PASSWORD = "device", "open sesame"
_SQUID = """
http_port {v4}:3128
http_port [{v6}]:3128
pid_filename none
cache_log {directory}/cache.log
logfile_rotate 0
access_log stdio:{directory}/access.log
buffered_logs off
cache deny all
coredump_dir {directory}
hosts_file none
pinger_enable off
icon_directory /usr/share/squid/icons
dns_nameservers {resolver}
shutdown_lifetime 0 seconds
visible_hostname proxy.corp.example
auth_param basic program /usr/lib/squid/basic_ncsa_auth {directory}/users
auth_param basic realm corp
acl known proxy_auth REQUIRED
http_access deny !known
http_access allow all
"""


@dataclass(frozen=True, slots=True)
class Scene:
    """An isolated device that may use the proxy."""

    lab: Lab
    agent: Agent
    log: Path

    def count(self, reason: str) -> int:
        """How often the gate decided so."""
        counters = orders.status(self.agent)["counters"]
        assert isinstance(counters, dict)
        return int(counters["accepted"].get(reason, 0) + counters["dropped"].get(reason, 0))

    def curl(self, url: str, *more: str, version: int = 4, user: bool = True) -> tuple[int, str]:
        """Exit code of curl and the page it got through the proxy."""
        host = HOSTS[version] if version == 4 else f"[{HOSTS[version]}]"
        credentials = ("--proxy-user", f"{USER}:{PASSWORD}") if user else ()
        command = ["curl", "-s", "-S", "-m", "8", "--cacert", str(self.lab.ca_pem), "-o", "-", url, *more]
        ended = self.lab.device.run([*command, "--proxy", f"http://{host}:{PORT}", *credentials], 15)
        return ended.returncode, ended.stdout + ended.stderr

    def seen(self, what: str) -> bool:
        """Whether squid has logged a request about it."""
        return what in self.log.read_text()


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as made:
        yield made


@pytest.fixture(scope="module")
def log(lab: Lab) -> Path:
    """Start squid on the neighbour; gives its log."""
    directory = lab.directory / "squid"
    directory.mkdir()
    salted = subprocess.run(
        ["openssl", "passwd", "-apr1", "-stdin"], input=PASSWORD, capture_output=True, text=True, check=True
    ).stdout.strip()
    (directory / "users").write_text(f"{USER}:{salted}\n")
    config = lab.directory / "squid.conf"
    config.write_text(
        _SQUID.format(
            v4=HOSTS[4], v6=HOSTS[6], directory=directory, resolver=ADDRESSES["router"].v4
        )
    )  # fmt: skip
    subprocess.run(["chown", "-R", "proxy:proxy", str(directory)], check=True)
    lab.directory.chmod(0o755)
    service = f"isolated{os.getpid()}"  # shared memory of the machine carries this name
    with (lab.directory / "squid.log").open("wb") as output:
        squid = lab.neighbour.popen(
            ["squid", "-N", "-n", service, "-f", str(config)], stdout=output, stderr=output
        )
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        assert squid.poll() is None, (lab.directory / "squid.log").read_text()
        with lab.neighbour.socket() as sock:
            if sock.connect_ex((HOSTS[4], PORT)) == 0:
                return directory / "access.log"
        time.sleep(0.1)
    raise AssertionError("squid does not listen")


@pytest.fixture(scope="module")
def scene(lab: Lab, log: Path) -> Iterator[Scene]:
    rows = (Row(LISTED), Row(LISTED_TOO), Row(PAGES, 80), Row("20.90.0.0/24", 443))
    policy = write_list(lab.directory / "own.yaml", rows)
    proxies = ", ".join(f'{{address: "{host}", port: {PORT}}}' for host in HOSTS.values())
    with lab.agent(f"lists: [{policy}]\nproxies: [{proxies}]\n") as agent:
        made = Scene(lab, agent, log)
        # Positive control: without isolation the proxy carries what is refused below.
        assert made.curl(f"https://{world.UNLISTED}/")[0] == 0
        assert made.curl(f"http://{PAGES_ONE}/")[0] == 0
        assert made.curl(f"https://{world.UNLISTED}/", version=6)[0] == 0
        orders.isolate(agent)
        log.write_text("")
        yield made
        orders.release(agent)


def ask(scene: Scene, pieces: list[bytes], version: int = 4) -> bytes:
    """Say the pieces one after the other to the proxy, an answer between them; ConnectionError when reset."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with scene.lab.device.socket(family) as sock:
        sock.settimeout(5)
        sock.connect((HOSTS[version], PORT))
        got = b""
        for piece in pieces:
            sock.sendall(piece)
            got += sock.recv(65536)
        return got


def connect(target: str, *fields: str, user: bool = True) -> bytes:
    """A CONNECT with the device's password."""
    word = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}", *fields]
    lines += [f"Proxy-Authorization: Basic {word}"] if user else []
    return "\r\n".join([*lines, "", ""]).encode()


@pytest.mark.parametrize("version", [4, 6])
class TestCurl:
    def test_a_listed_host_by_tunnel(self, scene: Scene, version: int) -> None:
        """With the password: the header passes untouched."""
        assert scene.curl(f"https://{LISTED}/", version=version)[0] == 0

    def test_a_client_that_proves_itself_in_two_steps(self, scene: Scene, version: int) -> None:
        before = scene.count("proxy_target_allowed")
        assert scene.curl(f"https://{LISTED}/", "--proxy-anyauth", version=version)[0] == 0
        assert scene.count("proxy_target_allowed") >= before + 2

    def test_without_the_password_the_proxy_says_no_itself(self, scene: Scene, version: int) -> None:
        code, output = scene.curl(f"https://{LISTED}/", version=version, user=False)
        assert code == 56
        assert "407" in output

    def test_an_unlisted_host_by_tunnel(self, scene: Scene, version: int) -> None:
        before = scene.count("proxy_target_not_allowed")
        assert scene.curl(f"https://{world.UNLISTED}/", version=version)[0] == 56  # reset
        assert scene.count("proxy_target_not_allowed") == before + 1
        assert not scene.seen(world.UNLISTED)

    def test_another_port_of_a_listed_host(self, scene: Scene, version: int) -> None:
        assert scene.curl(f"https://{LISTED}:8443/", version=version)[0] == 56
        assert not scene.seen(f"{LISTED}:8443")

    def test_a_page_of_a_listed_host(self, scene: Scene, version: int) -> None:
        assert scene.curl(f"http://{PAGES}/", version=version)[0] == 0

    def test_a_page_of_an_unlisted_host(self, scene: Scene, version: int) -> None:
        assert scene.curl(f"http://{PAGES_ONE}/", version=version)[0] == 56
        assert not scene.seen(PAGES_ONE)

    def test_a_second_page_on_the_same_connection(self, scene: Scene, version: int) -> None:
        code, _ = scene.curl(f"http://{PAGES}/", f"http://{PAGES_ONE}/two", version=version)
        assert code != 0
        assert not scene.seen(PAGES_ONE)

    def test_a_tunnel_to_a_port_80_entry(self, scene: Scene, version: int) -> None:
        """There the absolute form serves, whose requests are judged one by one."""
        assert scene.curl(f"http://{PAGES}/", "--proxytunnel", version=version)[0] == 56

    def test_straight_to_the_host(self, scene: Scene, version: int) -> None:
        """What is listed is open without the proxy too."""
        command = [
            "curl",
            "-s",
            "-m",
            "8",
            f"-{version}",
            "--cacert",
            str(scene.lab.ca_pem),
            "-o",
            "/dev/null",
        ]
        assert scene.lab.device.run([*command, f"https://{LISTED}/"], 15).returncode == 0


class TestTunnels:
    def test_another_server_name_in_the_tunnel(self, scene: Scene) -> None:
        """The tunnel's hello is checked as well: the proxy sees CONNECT, never this hello."""
        before = scene.count("tls_name_not_allowed")
        with pytest.raises(ConnectionError):
            ask(scene, [connect(f"{LISTED}:443"), client_hello(world.UNLISTED)])
        assert scene.count("tls_name_not_allowed") == before + 1

    def test_the_name_of_another_entry_in_the_tunnel(self, scene: Scene) -> None:
        before = scene.count("tls_name_elsewhere")
        with pytest.raises(ConnectionError):
            ask(scene, [connect(f"{LISTED}:443"), client_hello(LISTED_TOO)])
        assert scene.count("tls_name_elsewhere") == before + 1

    def test_no_server_name_in_the_tunnel(self, scene: Scene) -> None:
        with pytest.raises(ConnectionError):
            ask(scene, [connect(f"{LISTED}:443"), client_hello("198.51.100.1")])

    def test_the_allowed_name_in_the_tunnel(self, scene: Scene) -> None:
        """Positive control of the three before: the server answers with its own hello."""
        got = ask(scene, [connect(f"{LISTED}:443"), client_hello(LISTED)])
        head, _, answer = got.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert answer.startswith(b"\x16\x03")

    @pytest.mark.parametrize("data", [b"raw\r\n", b"SSH-2.0-OpenSSH_9.2\r\n"], ids=["raw", "ssh"])
    def test_no_hello_in_the_tunnel(self, scene: Scene, data: bytes) -> None:
        with pytest.raises(ConnectionError):
            ask(scene, [connect(f"{LISTED}:443"), data])

    def test_a_second_tunnel_asked_for_in_the_first(self, scene: Scene) -> None:
        with pytest.raises(ConnectionError):
            ask(scene, [connect(f"{LISTED}:443"), connect(f"{LISTED_TOO}:443")])

    def test_a_host_field_that_differs(self, scene: Scene) -> None:
        with pytest.raises(ConnectionError):
            ask(scene, [connect(f"{LISTED}:443").replace(f"Host: {LISTED}".encode(), b"Host: evil.example")])

    def test_a_listed_address_by_tunnel(self, scene: Scene) -> None:
        """An entry that is a network: the address may be asked for, an address beside it not."""
        assert ask(scene, [connect("20.90.0.7:443")]).startswith(b"HTTP/1.1")
        with pytest.raises(ConnectionError):
            ask(scene, [connect("20.91.0.7:443")])


@pytest.mark.parametrize(
    "data",
    [
        client_hello(LISTED),
        b"GET / HTTP/1.1\r\nHost: " + LISTED.encode() + b"\r\n\r\n",
        b"\x05\x01\x00",
        b"\x04\x01\x01\xbb\x14\x3c\x00\x0a\x00",
        b"GET https://" + LISTED.encode() + b"/ HTTP/1.1\r\nHost: " + LISTED.encode() + b"\r\n\r\n",
        b"GET cache_object://localhost/info HTTP/1.0\r\n\r\n",
        b"CONNECT " + LISTED.encode() + b":443 HTTP/1.1\n\n",
    ],
    ids=["tls", "origin_form", "socks5", "socks4", "https_absolute", "cache_object", "bare_line_ends"],
)
def test_what_is_no_request_to_a_proxy_is_refused(scene: Scene, data: bytes) -> None:
    with pytest.raises(ConnectionError):
        ask(scene, [data])


def test_the_proxy_s_other_ports_and_datagrams_are_closed(scene: Scene) -> None:
    with scene.lab.device.socket() as sock:
        sock.settimeout(5)
        with pytest.raises(ConnectionError):
            sock.connect((HOSTS[4], 22))
    with scene.lab.device.socket(kind=socket.SOCK_DGRAM) as sock, pytest.raises(PermissionError):
        sock.sendto(b"x", (HOSTS[4], PORT))


def test_a_tunnel_goes_on_when_the_agent_is_killed_and_no_new_one_opens(scene: Scene) -> None:
    lab = scene.lab
    with lab.device.socket() as sock:
        sock.settimeout(5)
        sock.connect((HOSTS[4], PORT))
        sock.sendall(connect(f"{LISTED}:443"))
        assert sock.recv(65536).startswith(b"HTTP/1.1 200")
        sock.sendall(client_hello(LISTED))
        assert sock.recv(65536)
        scene.agent.kill()
        try:
            # No TLS any more, so the server ends the connection with an alert: the bytes got through.
            sock.sendall(b"\x15\x03\x03\x00\x02\x02\x28")
            while sock.recv(65536):
                pass
            with lab.device.socket() as new:
                new.settimeout(1)
                with pytest.raises(OSError):
                    new.connect((HOSTS[4], PORT))
        finally:
            scene.agent.start(60)
    assert scene.curl(f"https://{LISTED}/")[0] == 0
