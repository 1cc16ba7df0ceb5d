"""`make run` from its first line to Ctrl-C: signed in over HTTP, the lab device isolated and released."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.lab.ground import ROOT
from tests.lab.leftovers import NETNS_DIRECTORY

pytestmark = [pytest.mark.netns, pytest.mark.e2e]

NEW_PASSWORD = "a much better pass phrase"
COMMENT = "seen in the browser"


class Browser:
    """Forms, cookies and redirects, as far as this needs them. Sends Secure cookies to loopback, as browsers do."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.cookies: dict[str, str] = {}
        self.page = ""
        self.path = ""

    def get(self, path: str) -> str:
        return self._open(urllib.request.Request(self.url + path))

    def post(self, path: str, **fields: str) -> str:
        """Send the page's hidden fields and these."""
        hidden = dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', self.page))
        body = urlencode({**hidden, **fields}).encode()
        return self._open(urllib.request.Request(self.url + path, body, {"Origin": self.url}))

    def _open(self, request: urllib.request.Request) -> str:
        request.add_header("Cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items()))
        opener = urllib.request.build_opener(_NoRedirect)
        with opener.open(request, timeout=30) as answer:
            for header in answer.headers.get_all("Set-Cookie") or ():
                for name, morsel in SimpleCookie(header).items():
                    self.cookies[name] = morsel.value
            self.page, self.path = answer.read().decode(), request.selector
            location = answer.headers.get("Location")
        return self.get(location) if location else self.page


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def http_error_303(self, request: Any, answer: Any, *rest: Any) -> Any:
        return answer

    http_error_302 = http_error_307 = http_error_303


@pytest.fixture
def run(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Callable[[], str]]]:
    output = tmp_path / "output"
    with output.open("w") as written:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.run", "--port", "0"],
            cwd=ROOT,
            stdout=written,
            stderr=written,
            text=True,
            start_new_session=True,
        )
    try:
        yield process, output.read_text
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def until(find: Callable[[], Any], process: subprocess.Popen[str], within_s: float = 90) -> Any:
    end = time.monotonic() + within_s
    while not (found := find()):
        assert process.poll() is None, "make run has ended by itself"
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.1)
    return found


def test_isolate_from_the_browser_and_ctrl_c_leaves_nothing(
    run: tuple[subprocess.Popen[str], Callable[[], str]],
) -> None:
    process, said = run
    found = until(
        lambda: re.search(r"portal\s+(\S+)/portal/\s+sign in\s+(\S+)\s+password\s+(\S+)", said()), process
    )
    url, name, password = found.groups()
    state = Path(re.search(r"files\s+(\S+)", said())[1])  # type: ignore[index]
    until(lambda: said().count("everything else open") == 1, process)

    browser = Browser(url)
    sign_in(browser, name, password)
    machine = re.search(r"/portal/machines/([0-9a-f]{40})", browser.get("/portal/machines"))
    assert machine, browser.page
    assert "lab-device" in browser.page
    where = f"/portal/machines/{machine[1]}"
    api = Api(url, state)

    browser.get(f"{where}/isolate")
    browser.post(f"{where}/isolate", comment=COMMENT, scope="full")
    action = until(lambda: api.ended("Isolate"), process)
    assert (action["status"], action["requestorComment"]) == ("Succeeded", COMMENT)
    assert api.get(f"/api/machines/{machine[1]}")["observed"]["verified"] is True
    until(lambda: said().count("listed host open, everything else shut") == 1, process)

    browser.get(f"{where}/release")
    browser.post(f"{where}/release", comment="done")
    assert until(lambda: api.ended("Unisolate"), process)["status"] == "Succeeded"
    until(lambda: said().count("everything else open") == 2, process)

    members = group(process.pid) + children_of(process.pid)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(40) == 0, said()
    assert "everything is removed" in said()
    assert not list(NETNS_DIRECTORY.glob(f"*-{process.pid}-*"))
    assert not state.exists()
    time.sleep(0.5)
    assert not [each for each in members if Path(f"/proc/{each}").exists()]


def sign_in(browser: Browser, name: str, password: str) -> None:
    """With the one-time password, which has to be changed before anything else."""
    browser.get("/portal/sign-in")
    browser.post("/portal/sign-in", name=name, password=password)
    assert browser.get("/portal/machines").count('name="new"') == 1
    browser.post("/portal/password", old=password, new=NEW_PASSWORD, again=NEW_PASSWORD)
    assert 'name="new"' not in browser.get("/portal/machines")


class Api:
    """The API with a client made at the controller's console."""

    def __init__(self, url: str, state: Path) -> None:
        self.url = url
        config = state.parent / "controller.yaml"
        words = ["client", "create", "--name", "test", "--role", "reader", "--json", "--config", str(config)]
        made = subprocess.run(
            [sys.executable, "-m", "api", *words], cwd=ROOT, capture_output=True, check=True
        )
        client = json.loads(made.stdout)
        form = {
            "grant_type": "client_credentials",
            "client_id": client["client_id"],
            "client_secret": client["client_secret"],
            "scope": f"{url}/.default",
        }
        token_url = f"{url}/{client['tenant_id']}/oauth2/v2.0/token"
        with urllib.request.urlopen(token_url, urlencode(form).encode(), timeout=30) as answer:
            self.token = json.load(answer)["access_token"]

    def get(self, path: str) -> Any:
        request = urllib.request.Request(self.url + path, headers={"Authorization": f"Bearer {self.token}"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def ended(self, kind: str) -> dict[str, Any] | None:
        """The action of this type once it is over."""
        actions = self.get("/api/machineactions")["value"]
        return next(
            (
                each
                for each in actions
                if each["type"] == kind and each["status"] not in ("Pending", "InProgress")
            ),
            None,
        )


def group(leader: int) -> list[int]:
    """Every process of the session that `make run` leads."""
    found = []
    for each in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = each.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader:
            found.append(int(each.parent.name))
    return found


def children_of(pid: int) -> list[int]:
    """Its children and theirs: the controller has a session of its own."""
    try:
        found = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return found + [deeper for each in found for deeper in children_of(each)]
