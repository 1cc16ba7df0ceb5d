"""The real controller as a process in the lab's internet, and someone who calls its API from there."""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlencode

from tests.lab.ground import python_path
from tests.lab.lab import Lab

ADDRESS = "20.99.0.5"
NAME = "controller.vendor.example"
PORT = 9443
START_S = 60.0
STOP_S = 40.0


@dataclass
class LabController:
    """`isolator-api serve` in the internet namespace, with a tenant, a client and enrolment tokens."""

    lab: Lab
    database: str = ""
    directory: Path = field(init=False)
    process: subprocess.Popen[bytes] | None = None
    _client: dict[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.directory = self.lab.directory / "controller"
        self.directory.mkdir()

    @property
    def url(self) -> str:
        """Where agents and callers find it."""
        return f"https://{ADDRESS}:{PORT}"

    def console(self, *arguments: str) -> Any:
        """One command of the console, its JSON."""
        command = [sys.executable, "-m", "api", *arguments, "--json", *self._where()]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60, env=self._environment(), check=False
        )
        if done.returncode:
            raise RuntimeError(f"isolator-api {' '.join(arguments)}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def start(self) -> None:
        """Serve; returns when it answers."""
        pem = self.lab.authority.issue("controller", (ADDRESS, NAME)).pem
        command = [
            *(sys.executable, "-m", "api", "serve", "--host", ADDRESS, "--port", str(PORT)),
            *("--tls-cert", str(pem), "--tls-key", str(pem), *self._where()),
        ]
        log = (self.directory / "log").open("ab")
        with log:
            self.process = self.lab.internet.popen(command, stdout=log, stderr=log, env=self._environment())
        deadline = time.monotonic() + START_S
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(
                    f"the controller did not start: {(self.directory / 'log').read_text()[-2000:]}"
                )
            time.sleep(0.05)

    def enrolment_token(self) -> str:
        """A token for one agent."""
        return str(self.console("enrolment", "create")["enrolment_token"])

    def agent_config(self, more: str = "") -> str:
        """The agent.yaml of a device that belongs to this controller."""
        token = self.enrolment_token()
        return f"controller: {{url: '{self.url}', ca: {self.lab.ca_pem}, enrolment_token: {token}}}\n{more}"

    def caller(self) -> Caller:
        """A program with an operator's client, its token fetched."""
        if not self._client:
            self._client = self.console("client", "create", "--name", "soar", "--role", "administrator")
        return Caller(self.lab, self._client)

    def kill(self) -> None:
        """SIGKILL: what agents meet when a controller is lost."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        """End it in order: polls are answered, what is under way is finished."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(STOP_S)
            self.process = None

    def __enter__(self) -> LabController:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _where(self) -> tuple[str, ...]:
        state = ("--state-dir", str(self.directory / "state"))
        return (*state, "--database", self.database) if self.database else state

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": python_path(),
            "ISOLATOR_API_PUBLIC_URL": self.url,
            "ISOLATOR_API_CALLS_PER_MINUTE": "100000",
            "ISOLATOR_API_CALLS_PER_HOUR": "1000000",
            "ISOLATOR_API_ISOLATIONS_PER_HOUR": "100000",
        }

    def _answers(self) -> bool:
        caller = Caller(self.lab, {})
        try:
            return caller.get("/healthz")[0] == 200
        except OSError:
            return False
        finally:
            caller.close()


class Caller:
    """Calls the API from the internet namespace, on one connection."""

    def __init__(self, lab: Lab, client: dict[str, str]) -> None:
        self._lab = lab
        self._client = client
        self._connection: http.client.HTTPSConnection | None = None
        self._headers: dict[str, str] = {}
        if client:
            self._fetch_token()

    def get(self, path: str) -> tuple[int, Any]:
        """Status and JSON of a GET."""
        return self._call("GET", path)

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        """Status and JSON of a POST with a JSON body."""
        return self._call("POST", path, json.dumps(body), {"Content-Type": "application/json"})

    def machine_id(self, timeout_s: float = 20.0) -> str:
        """The id of the one machine there is, as soon as it has enrolled and reported."""
        deadline = time.monotonic() + timeout_s
        while True:
            value = self.get("/api/machines")[1]["value"]
            if value and value[0]["observed"]["state"] != "unknown":
                return str(value[0]["id"])
            if time.monotonic() > deadline:
                raise TimeoutError("no machine enrolled")
            time.sleep(0.05)

    def until_ended(self, action_id: str, timeout_s: float = 10.0) -> dict[str, Any]:
        """The action when it is neither pending nor under way any more."""
        deadline = time.monotonic() + timeout_s
        while True:
            action = self.get(f"/api/machineactions/{action_id}")[1]
            if action["status"] not in ("Pending", "InProgress"):
                return dict(action)
            if time.monotonic() > deadline:
                raise TimeoutError(f"still {action['status']} after {timeout_s:g} s")
            time.sleep(0.002)

    def close(self) -> None:
        """Give the connection up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _fetch_token(self) -> None:
        form = urlencode(
            {
                "grant_type": "client_credentials",
                "client_id": self._client["client_id"],
                "client_secret": self._client["client_secret"],
                "scope": "https://api.securitycenter.microsoft.com/.default",
            }
        )
        path = f"/{self._client['tenant_id']}/oauth2/v2.0/token"
        status, body = self._call("POST", path, form, {"Content-Type": "application/x-www-form-urlencoded"})
        if status != 200:
            raise RuntimeError(f"no token: {status} {body}")
        self._headers = {"Authorization": f"Bearer {body['access_token']}"}

    def _call(
        self, method: str, path: str, body: str | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        fresh = self._connection is None
        connection = self._connected()
        try:
            connection.request(method, path, body, {**self._headers, **(headers or {})})
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException):
            self.close()
            if fresh:
                raise
            # The controller was restarted since: the connection that was kept is of the one before.
            return self._call(method, path, body, headers)
        kind = answer.headers.get("Content-Type", "")
        return answer.status, json.loads(text) if kind.startswith("application/json") else text

    def _connected(self) -> http.client.HTTPSConnection:
        if self._connection is None:
            context = ssl.create_default_context(cafile=str(self._lab.ca_pem))
            made = http.client.HTTPSConnection(ADDRESS, PORT, timeout=20, context=context)
            plain = self._lab.internet.socket()
            try:
                plain.settimeout(20)
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                plain.connect((ADDRESS, PORT))
                made.sock = context.wrap_socket(plain, server_hostname=ADDRESS)
            except OSError:
                plain.close()
                raise
            self._connection = made
        return self._connection
