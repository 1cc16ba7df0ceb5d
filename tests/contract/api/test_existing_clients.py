"""Programs that were written for Microsoft's service, unmodified, against the real server over TLS."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import ClientSecretCredential

from api.core.roles import Role
from api.services.clients import NewClient
from api.store.database import Database
from tests.contract.api.controller import ACME, Controller, controller
from tests.contract.api.served import Forwarding, Served, forwarding, served

SCOPE = "https://api.securitycenter.microsoft.com/.default"


@dataclass(frozen=True, slots=True)
class World:
    """A controller that is really served, and the way to it under Microsoft's names."""

    controller: Controller
    served: Served
    forwarding: Forwarding

    def environment(self) -> dict[str, str]:
        """What an administrator sets for a client with built-in host names."""
        inherited = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}
        ca = str(self.served.ca)
        return {
            **inherited,
            "HTTPS_PROXY": self.forwarding.url,
            "REQUESTS_CA_BUNDLE": ca,
            "SSL_CERT_FILE": ca,
        }


@pytest.fixture
def world(database: Database, tmp_path: Path) -> Iterator[World]:
    with controller(database, tmp_path) as made:
        made.clock.at = datetime.now(UTC)  # the clients have clocks of their own
        with served(made.app, tmp_path) as server, forwarding(server.port) as forwarder:
            yield World(made, server, forwarder)


def azure_token(world: World, new: NewClient, secret: str = "") -> str:
    with ClientSecretCredential(
        ACME,
        new.client.id,
        secret or new.secret,
        authority=world.served.url,
        disable_instance_discovery=True,
        retry_total=0,
    ) as credential:
        return credential.get_token(SCOPE).token


def test_azure_identity_gets_a_token(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(world.served.ca))
    new = world.controller.client(Role.OPERATOR)
    token = azure_token(world, new)
    answer = requests.get(
        f"{world.served.url}/api/machines", headers={"Authorization": f"Bearer {token}"}, timeout=10
    )
    assert answer.status_code == 200
    with pytest.raises(ClientAuthenticationError, match="AADSTS7000215"):
        azure_token(world, new, "wrong")


def test_azure_identity_under_microsofts_name(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole way: instance discovery, OpenID configuration, token; all at login.microsoftonline.com."""
    for name, value in world.environment().items():
        if "PROXY" in name or "CA_BUNDLE" in name:
            monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    new = world.controller.client(Role.READER)
    with ClientSecretCredential("acme", new.client.id, new.secret, retry_total=0) as credential:
        assert credential.get_token(SCOPE).token.count(".") == 2
    assert set(world.forwarding.forwarder.asked) == {"login.microsoftonline.com:443"}


def check_msdefender(
    world: World, tmp_path: Path, new: NewClient, *args: str
) -> subprocess.CompletedProcess[str]:
    config = tmp_path / "check.ini"
    config.write_text(
        f"[auth]\ntenant_id = {ACME}\nclient_id = {new.client.id}\nclient_secret = {new.secret}\n[settings]\ntimeout = 10\n"
    )
    program = Path(sys.executable).with_name("check_msdefender")
    return subprocess.run(
        [program, *args, "-c", config],
        env=world.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
    )


def test_check_msdefender(world: World, tmp_path: Path) -> None:
    machine = world.controller.machine("pc-1.example")
    world.controller.machine("pc-2.example")
    new = world.controller.client(Role.READER)
    answers = {
        args: check_msdefender(world, tmp_path, new, *args)
        for args in (
            ("machines",),
            ("lastseen", "-d", "pc-1.example"),
            ("lastseen", "-m", machine.id),
            ("onboarding", "-d", "pc-1.example"),
        )
    }
    for args, answer in answers.items():
        assert answer.returncode == 0, (args, answer.stdout, answer.stderr)
    assert "pc-2.example" in answers["machines",].stdout
    assert "machines=2" in answers["machines",].stdout.replace("'", "")
    assert "0 days ago" in answers["lastseen", "-m", machine.id].stdout
    assert "Fully onboarded" in answers["onboarding", "-d", "pc-1.example"].stdout
    asked = set(world.forwarding.forwarder.asked)
    assert asked == {"login.microsoftonline.com:443", "api.security.microsoft.com:443"}


def test_check_msdefender_is_told_of_a_wrong_secret(world: World, tmp_path: Path) -> None:
    new = world.controller.client(Role.READER)
    answer = check_msdefender(world, tmp_path, NewClient(new.client, "wrong"), "machines")
    assert answer.returncode == 3
    assert "AADSTS7000215" in answer.stdout


def test_the_forwarder_leads_nowhere_else(world: World) -> None:
    host, port = world.forwarding.url.removeprefix("http://").split(":")
    for request in (
        b"CONNECT example.com:443 HTTP/1.1\r\n\r\n",
        b"CONNECT login.microsoftonline.com:22 HTTP/1.1\r\n\r\n",
        b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n\r\n" % world.served.port,
        b"GET http://login.microsoftonline.com/ HTTP/1.1\r\n\r\n",
        b"\r\n\r\n",
        b"CONNECT login.microsoftonline.com.evil.test:443 HTTP/1.1\r\n\r\n",
    ):
        with socket.create_connection((host, int(port)), timeout=10) as caller:
            caller.sendall(request)
            assert caller.recv(100).startswith(b"HTTP/1.1 403"), request
    with socket.create_connection((host, int(port)), timeout=10) as caller:
        caller.sendall(b"x" * 40_000)
        with contextlib.suppress(ConnectionError):  # it may hang up while we are still talking
            assert caller.recv(100) == b""
