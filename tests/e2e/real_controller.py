"""The real controller in the lab's internet, and the calls of a portal to it."""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.lab import Lab
from tests.lab.ground import python_path

ADDRESS, PORT = "20.99.0.7", 9553


class RealController:
    """`isolator-api serve` with SQLite in a directory of its own; `start` and `stop` as often as wanted."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self.directory = lab.directory / "controller"
        self.directory.mkdir()
        self._environment = {**os.environ, "PYTHONPATH": python_path()}
        self._pem = lab.authority.issue("real-controller", (ADDRESS,)).pem
        self._context = ssl.create_default_context(cafile=str(lab.ca_pem))
        self._process: subprocess.Popen[Any] | None = None
        self._bearer = ""

    def start(self) -> None:
        """Until it takes connections."""
        where = [
            "--host",
            ADDRESS,
            "--port",
            str(PORT),
            "--tls-cert",
            str(self._pem),
            "--tls-key",
            str(self._pem),
        ]
        with (self.directory / "log").open("ab") as log:
            self._process = self._lab.internet.popen(
                [sys.executable, "-m", "api", "serve", "--state-dir", str(self.directory), *where],
                stdout=log, stderr=log, env=self._environment,
            )  # fmt: skip
        deadline = time.monotonic() + 40
        while not self._listens():
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)

    def stop(self) -> None:
        """SIGKILL: what an agent meets when a controller is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def log(self) -> str:
        """What it wrote last."""
        return (self.directory / "log").read_text(errors="replace")[-3000:]

    def command(self, *words: str) -> str:
        """`isolator-api WORDS` on its state directory; AssertionError when it fails."""
        argv = [sys.executable, "-m", "api", *words, "--state-dir", str(self.directory)]
        done = subprocess.run(argv, capture_output=True, text=True, env=self._environment, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def enrolment_token(self) -> str:
        """A new one."""
        return str(json.loads(self.command("enrolment", "create", "--json"))["enrolment_token"])

    def sign_in(self) -> None:
        """A new API client with every right."""
        made = json.loads(
            self.command("client", "create", "--json", "--name", "soar", "--role", "administrator")
        )
        form = {
            "grant_type": "client_credentials",
            "client_id": made["client_id"],
            "client_secret": made["client_secret"],
            "scope": "https://api.securitycenter.microsoft.com/.default",
        }
        body = self._call("POST", f"/{made['tenant_id']}/oauth2/v2.0/token", urlencode(form).encode())
        self._bearer = body["access_token"]

    def post(self, path: str, body: Mapping[str, object]) -> Any:
        """The answer to a call of the API."""
        return self._call("POST", path, json.dumps(body).encode())

    def get(self, path: str) -> Any:
        """Likewise."""
        return self._call("GET", path, None)

    def ended(self, action_id: str, within_s: float = 60.0) -> Any:
        """The action when it has ended; an agent whose controller was away takes up to half a minute."""
        deadline = time.monotonic() + within_s
        while True:
            action = self.get(f"/api/machineactions/{action_id}")
            if action["status"] not in ("Pending", "InProgress"):
                return action
            assert time.monotonic() < deadline, action
            time.sleep(0.7)  # 100 calls a minute are allowed

    def _call(self, method: str, path: str, body: bytes | None) -> Any:
        kind = "application/json" if path.startswith("/api/") else "application/x-www-form-urlencoded"
        headers = {"Content-Type": kind, "Authorization": f"Bearer {self._bearer}"}
        plain = self._lab.internet.socket(socket.AF_INET)
        plain.settimeout(20.0)
        with closing(plain):
            plain.connect((ADDRESS, PORT))
            connection = http.client.HTTPConnection(ADDRESS, PORT)
            connection.sock = self._context.wrap_socket(plain, server_hostname=ADDRESS)
            with closing(connection):
                connection.request(method, path, body, headers if self._bearer else {"Content-Type": kind})
                response = connection.getresponse()
                found = json.loads(response.read())
        assert response.status in (200, 201), (response.status, found)
        return found

    def _listens(self) -> bool:
        with closing(self._lab.internet.socket(socket.AF_INET)) as probe:
            return probe.connect_ex((ADDRESS, PORT)) == 0


def keys_of(controller: RealController) -> Path:
    """Where the root key lies."""
    (found,) = controller.directory.rglob("root.key")
    return found
