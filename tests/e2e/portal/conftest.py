"""A browser (Debian's Chromium) and a served controller; skipped with a code where there is none."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright
from playwright.sync_api import Error as PlaywrightError
from sqlalchemy import select

from api.portal import sessions
from api.store.tables import User
from tests.e2e.portal.scene import PASSWORD, Scene, build, furnish, serving

CHROMIUM = "/usr/bin/chromium"

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--force-color-profile=srgb",
]

LISTEN = """document.addEventListener("securitypolicyviolation",
  (event) => console.error("CSP: " + event.violatedDirective + " " + event.blockedURI));"""

TIMEOUT_MS = 15_000


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One browser for the whole run."""
    if shutil.which(CHROMIUM) is None:
        pytest.skip(f"no_chromium: {CHROMIUM} is not installed")
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        except PlaywrightError as error:
            pytest.skip(f"chromium_does_not_start: {str(error).splitlines()[0]}")
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A furnished controller, served; fresh for each module."""
    directory = tmp_path_factory.mktemp("controller")
    made = build(directory)
    furnish(made)
    try:
        with serving(made, directory):
            yield made
    finally:
        made.world.services.database.close()


@dataclass
class Visitor:
    """A browser of one person. What its console complains of must be `expected`, or the test fails."""

    context: BrowserContext
    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def go(self, path: str) -> int:
        """Open a page of the portal; gives its status."""
        answer = self.page.goto(f"{self.url}/portal{path}")
        assert answer is not None
        return answer.status

    def sign_in(self, name: str, password: str = PASSWORD) -> None:
        """Through the form, as a person does."""
        if "/sign-in" not in self.page.url:
            self.go("/sign-in")
        self.page.fill("#name", name)
        self.page.fill("#password", password)
        with self.page.expect_navigation():
            self.page.press("#password", "Enter")

    def unexpected(self) -> list[str]:
        """Complaints that no test asked for."""
        return [each for each in self.complaints if not any(part in each for part in self.expected)]


MakeVisitor = Callable[..., Visitor]


@pytest.fixture
def visitors(chromium: Browser, scene: Scene) -> Iterator[MakeVisitor]:
    """Makes browsers; at the end none of them may have complained."""
    made: list[Visitor] = []
    with ExitStack() as stack:

        def make(role: str = "", **options: Any) -> Visitor:
            context = chromium.new_context(
                ignore_https_errors=True,
                **{"viewport": {"width": 1440, "height": 900}, "locale": "en-GB", **options},
            )
            stack.callback(context.close)
            context.set_default_timeout(TIMEOUT_MS)
            context.add_init_script(LISTEN)
            visitor = Visitor(context, context.new_page(), scene.url)
            context.on("console", lambda message: _note(visitor, message))
            context.on("weberror", lambda error: visitor.complaints.append(f"thrown: {error.error}"))
            made.append(visitor)
            if role:
                _let_in(scene, visitor, role)
            return visitor

        yield make
        assert [each.unexpected() for each in made if each.unexpected()] == []


def _let_in(scene: Scene, visitor: Visitor, name: str) -> None:
    """A session without the form, which has tests of its own: passwords are slow on purpose."""
    services = scene.world.services
    with services.database.read() as session:
        user = session.scalars(select(User).where(User.name == name)).one()
    visitor.context.add_cookies(
        [
            {
                "name": sessions.COOKIE,
                "value": sessions.begin(services, user),
                "url": visitor.url,
                "secure": True,
                "httpOnly": True,
                "sameSite": "Lax",
            }
        ]
    )
    visitor.go("/")


def _note(visitor: Visitor, message: ConsoleMessage) -> None:
    if message.type in ("error", "warning"):
        visitor.complaints.append(message.text)


@pytest.fixture
def images() -> Path:
    """Where the README's pictures are kept."""
    return Path(__file__).resolve().parents[3] / "docs/images"
