"""Who looks at a page: the person, their actor, language and theme; and what a handler may ask for.

Handlers are plain functions; what they need comes through these dependencies. A page that needs a person
raises `Turned` away to the sign-in page, which brings them back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from fastapi import Depends, Request

from api.core.roles import Actor, Permission
from api.deps import ServicesOf
from api.portal import forgery, sessions
from api.portal.words import Words, choose_language, words_in
from api.problems import Problem
from api.services.users import actor_for
from api.store.tables import User

PREFIX = "/portal"
THEME_COOKIE = "__Host-isolator-theme"
LANGUAGE_COOKIE = "__Host-isolator-language"
THEMES = ("light", "dark")
LIVE_HEADER = "x-isolator-live"
"""Set by what a page fetches by itself."""

MAX_FORM = 64 * 1024
MAX_FIELDS = 300


@dataclass(frozen=True, slots=True)
class Visitor:
    """One request's reader. `user` and `actor` are None on the pages before sign-in."""

    words: Words
    theme: str
    """`light`, `dark` or empty: as the system says."""
    path: str
    user: User | None = None
    actor: Actor | None = None
    csrf_token: str = ""
    cookie: str = ""

    def may(self, permission: str) -> bool:
        """Whether the person's role grants a permission, by its name; nobody may nothing."""
        return self.actor is not None and self.actor.may(Permission(permission))


class Turned(Exception):  # noqa: N818 - a way to go, not a defect
    """The request goes elsewhere first: to sign in, or to choose a password."""

    def __init__(self, location: str) -> None:
        super().__init__(location)
        self.location = location


def stranger(request: Request) -> Visitor:
    """Somebody who need not be signed in."""
    language = choose_language(
        request.headers.get("accept-language", ""), chosen=request.cookies.get(LANGUAGE_COOKIE, "")
    )
    theme = request.cookies.get(THEME_COOKIE, "")
    return Visitor(words_in(language), theme if theme in THEMES else "", request.url.path)


def signed_in(request: Request, services: ServicesOf) -> Visitor:
    """The person of the session cookie; `Turned` to sign in when there is none."""
    cookie = request.cookies.get(sessions.COOKIE, "")
    found = sessions.find(services, cookie, live=LIVE_HEADER in request.headers)
    if found is None:
        raise Turned(f"{PREFIX}/sign-in?next={quote(_wanted(request), safe='')}")
    if found.user.must_change_password and request.url.path not in (
        f"{PREFIX}/password",
        f"{PREFIX}/sign-out",
        f"{PREFIX}/preferences",
    ):
        raise Turned(f"{PREFIX}/password?next={quote(_wanted(request), safe='')}")
    who = stranger(request)
    words = words_in(found.user.language) if found.user.language else who.words
    return Visitor(
        words, who.theme, who.path, found.user, actor_for(found.user), found.session.csrf_token, cookie
    )


def allowed(permission: Permission) -> Callable[..., Visitor]:
    """A dependency: the person, if their role grants the permission; 403 otherwise."""

    def permitted(visitor: Annotated[Visitor, Depends(signed_in)]) -> Visitor:
        if visitor.actor is None or not visitor.actor.may(permission):
            raise Problem("Forbidden", f"your role may not {permission.value} here")
        return visitor

    return permitted


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of a posted form, in order; texts as they came."""

    fields: tuple[tuple[str, str], ...] = ()

    def text(self, name: str) -> str:
        """The field's text without spaces around it; empty when there is none."""
        return self.raw(name).strip()

    def raw(self, name: str) -> str:
        """The field's text exactly; the last one counts, empty when there is none."""
        return dict(self.fields).get(name, "")

    def many(self, name: str) -> tuple[str, ...]:
        """Every value of a field that may be there several times."""
        return tuple(value for key, value in self.fields if key == name)

    def number(self, name: str, *, least: int, most: int, label: str) -> int:
        """A whole number within bounds. Problem InvalidInput that names the field."""
        text = self.text(name)
        if not text.isascii() or not text.isdigit() or len(text) > 12 or not least <= int(text) <= most:
            raise Problem("InvalidInput", f"{label}: {least} to {most}")
        return int(text)


async def posted(request: Request) -> Form:
    """The form of an unsafe request. Problem when it is too large or no form."""
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        raise Problem("InvalidRequestBody", "a form is expected")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_FORM:
            raise Problem("RequestTooLarge", f"a form has at most {MAX_FORM} bytes")
    try:
        fields = parse_qsl(
            body.decode("utf-8"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS
        )
    except ValueError:
        raise Problem("InvalidRequestBody", "the form cannot be read") from None
    if any("\x00" in name or "\x00" in value for name, value in fields):
        raise Problem("InvalidRequestBody", "the form has a character that no text has")
    return Form(tuple(fields))


PostedForm = Annotated[Form, Depends(posted)]


def same_origin(request: Request, services: ServicesOf) -> None:
    """A dependency of every unsafe route: 403 when another site made the request."""
    if not forgery.from_own_origin(request.headers, services.settings.public_url):
        raise Problem("Forbidden", "the request does not come from this portal")


def acting(permission: Permission | None) -> Callable[..., Visitor]:
    """A dependency of unsafe routes: origin, session, token and permission (None: anyone signed in)."""

    def permitted(
        request: Request,
        form: PostedForm,
        visitor: Annotated[Visitor, Depends(signed_in)],
        _: Annotated[None, Depends(same_origin)],
    ) -> Visitor:
        given = form.raw(forgery.FIELD) or request.headers.get(forgery.HEADER, "")
        if not forgery.tokens_match(visitor.csrf_token, given):
            raise Problem("Forbidden", "the page is too old; load it again and repeat")
        if visitor.actor is None or not (permission is None or visitor.actor.may(permission)):
            raise Problem("Forbidden", "your role may not do this")
        return visitor

    permitted.permission = permission  # type: ignore[attr-defined]
    return permitted


def safe_next(path: str) -> str:
    """Where to go after signing in: a path of ours, whatever was asked for (no open redirect)."""
    try:
        parts = urlsplit(path)
    except ValueError:
        return f"{PREFIX}/"
    climbs = {".", ".."} & set(unquote(parts.path).split("/"))
    odd = climbs or any(ord(each) < 0x21 or each == "\\" for each in path)
    if odd or parts.scheme or parts.netloc or not path.startswith(f"{PREFIX}/") or len(path) > 2000:
        return f"{PREFIX}/"
    return path


def _wanted(request: Request) -> str:
    """The page the person was on: for htmx the page around the fragment, for a POST none."""
    if request.headers.get("hx-request"):
        return safe_next(_path_of(request.headers.get("hx-current-url", "")))
    if request.method != "GET":
        return safe_next(_path_of(request.headers.get("referer", "")))
    return safe_next(request.url.path + (f"?{request.url.query}" if request.url.query else ""))


def _path_of(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return parts.path + (f"?{parts.query}" if parts.query else "")


Anyone = Annotated[Visitor, Depends(stranger)]
Person = Annotated[Visitor, Depends(signed_in)]
Reader = Annotated[Visitor, Depends(allowed(Permission.READ))]
Auditor = Annotated[Visitor, Depends(allowed(Permission.AUDIT))]
Operator = Annotated[Visitor, Depends(allowed(Permission.ISOLATE))]
Administrator = Annotated[Visitor, Depends(allowed(Permission.ADMINISTER))]
ActingPerson = Annotated[Visitor, Depends(acting(None))]
ActingOperator = Annotated[Visitor, Depends(acting(Permission.ISOLATE))]
ActingAdministrator = Annotated[Visitor, Depends(acting(Permission.ADMINISTER))]
Origin = Depends(same_origin)
