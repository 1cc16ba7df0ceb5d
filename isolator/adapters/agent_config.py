"""`agent.yaml` from disk to values; every fault is one sentence with file and line.

The reader of lists (`allowlists.document`, `.fields`) does YAML: no aliases, tags or duplicate keys.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

from allowlists import fqdn
from allowlists.document import Node, Scalar, Sequence, read
from allowlists.fields import Fields
from allowlists.files import SHIPPED
from allowlists.model import OPERATING_SYSTEMS, ListError, ParseError, Profile
from allowlists.pattern import parse_network
from isolator.model import config as rules
from isolator.model.config import AgentConfig, ControllerSettings, NotifySettings
from isolator.model.failure import FailureCode, IsolatorError
from isolator.model.flow import Transport
from isolator.model.policy import ControlEndpoint, Direction, Exclusion, LearnLimits, ProxyEndpoint

DEFAULT_PATH = Path("/etc/isolator/agent.yaml")
MAX_BYTES = 256 * 1024
"""A hundred times what a long configuration takes."""

_KEYS = (
    *("geo", "os", "lists", "profile", "resolvers", "control_channel", "proxies", "exclusions"),
    *("learn", "notify", "controller"),
)
_EXCLUSION_KEYS = ("name", "direction", "remote", "port", "protocol", "process")
_NO_CGROUP = "`cgroup` is not supported in this version; limit the exclusion by `uid` or `user`"

_V = TypeVar("_V")


def load_config(path: str | os.PathLike[str] = DEFAULT_PATH, *, required: bool = False) -> AgentConfig:
    """Give the configuration in a file; `required` when a person named it, so that it must be there.

    A missing file that nobody named is all defaults. Raises IsolatorError(BAD_CONFIG) with
    "FILE:LINE: reason" for whatever is wrong in it, with "FILE: reason" for a file that is missing,
    unreadable, too large, no regular file, or that somebody other than root or we could have written
    (`notify.command` runs with our rights).
    """
    file = os.path.abspath(path)
    # A link that points nowhere is no missing file: somebody meant there to be one.
    if not required and "\0" not in file and not os.path.lexists(file):
        return AgentConfig()
    try:
        return _parse(_read(file), file)
    except ListError as error:
        raise IsolatorError(FailureCode.BAD_CONFIG, "load_config", str(error)) from None


def _read(file: str) -> str:
    try:
        with open(file, "rb", opener=_open) as handle:
            _check_trust(os.fstat(handle.fileno()), file)
            data = handle.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ListError(f"the configuration cannot be read: {reason}", file=file) from None
    if len(data) > MAX_BYTES:
        raise ListError(f"the configuration is longer than {MAX_BYTES} bytes", file=file)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ListError("the configuration is not UTF-8 text", file=file, line=line) from None


def _open(path: str, flags: int) -> int:
    """Open without waiting: a pipe that nobody writes to would otherwise block for ever."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _check_trust(status: os.stat_result, file: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ListError("the configuration is no regular file", file=file)
    if sys.platform != "win32":
        if status.st_uid not in (0, os.geteuid()):
            raise ListError(f"the configuration belongs to user {status.st_uid}; root must own it", file=file)
        strangers = stat.S_IWOTH if status.st_gid in (0, os.getegid()) else stat.S_IWOTH | stat.S_IWGRP
        if status.st_mode & strangers:
            raise ListError("the configuration can be written by others; run chmod go-w on it", file=file)


def _parse(text: str, file: str) -> AgentConfig:
    # A file of comments alone is what a package installs: every key there, none in force.
    if all(not line.strip() or line.lstrip().startswith("#") for line in text.splitlines()):
        return AgentConfig()
    top = _Section(read(text, file), file, "the configuration", _KEYS)
    top.refuse_empty(_KEYS)
    control_channel = _control_channel(top)
    return AgentConfig(
        geo=top.unique("geo", rules.parse_geo),
        os=top.one_of("os", OPERATING_SYSTEMS, "") if top.has("os") else None,
        lists=_lists(top, os.path.dirname(file)),
        profile=top.one_of("profile", tuple(each.value for each in Profile), Profile.ISOLATION.value),
        resolvers=top.unique("resolvers", rules.parse_resolver),
        control_channel=control_channel,
        proxies=_proxies(top, control_channel),
        exclusions=_exclusions(top),
        learn=_learn(top),
        notify=_notify(top),
        controller=_controller(top, os.path.dirname(file)),
    )


class _Section(Fields):
    """One mapping of the configuration; ParseErrors of single values get their line here."""

    __slots__ = ("file",)

    def __init__(self, node: Node, file: str, what: str, known: tuple[str, ...]) -> None:
        super().__init__(node, file, what, known)
        self.file = file

    def refuse_empty(self, keys: tuple[str, ...]) -> None:
        """Refuse keys without a value: whoever wrote `lists:` and nothing else meant something."""
        for key in keys:
            if self.has(key) and self.node(key) is None:
                raise self.error_at(key, f"`{key}` of {self.what} has no value; give one or remove the key")

    def section(self, key: str, known: tuple[str, ...]) -> _Section | None:
        """Give a mapping under a key, None when absent."""
        node = self.node(key)
        return None if node is None else self._section(node, f"`{key}`", known)

    def sections(self, key: str, known: tuple[str, ...]) -> Iterator[_Section]:
        """Give the mappings in a list under a key."""
        node = self.node(key)
        if node is not None and not isinstance(node, Sequence):
            raise self.error(f"`{key}` must be a list; begin each item with a hyphen", node)
        for number, item in enumerate(self.items(key), 1):
            yield self._section(item, f"`{key}` item {number}", known)

    def _section(self, node: Node, what: str, known: tuple[str, ...]) -> _Section:
        section = _Section(node, self.file, what, known)
        section.refuse_empty(known)
        return section

    def check(self, key: str, rule: Callable[[], _V], node: Node | None = None) -> _V:
        """Give what the rule gives; its complaint gets the line of the node, else of the key."""
        try:
            return rule()
        except ParseError as error:
            if isinstance(error, ListError):
                raise
            reason = f"`{key}` of {self.what}: {error.reason}"
            raise (self.error_at(key, reason) if node is None else self.error(reason, node)) from None

    def unique(self, key: str, rule: Callable[[str], _V]) -> tuple[_V, ...]:
        """Give the texts of a list through a rule; one that comes twice is refused."""
        found: dict[_V, None] = {}
        for node, text in zip(self.items(key), self.texts(key), strict=True):
            value = self.check(key, partial(rule, text), node)
            if value in found:
                raise self.error(f"`{key}` of {self.what} names {text!a} twice", node)
            found[value] = None
        return tuple(found)

    def required(self, key: str) -> str:
        """Give text that must be there."""
        text = self.text(key)
        if not text:
            raise self.error_at(key, f"{self.what} needs `{key}`")
        return text

    def number(self, key: str) -> int | None:
        """Give a whole number, None when absent."""
        return None if self.node(key) is None else self.whole(key, 0)

    def port(self) -> int:
        """Give the port, which must be there."""
        return self.check("port", lambda: rules.parse_port(self.number("port")))


def _lists(top: _Section, directory: str) -> tuple[str, ...]:
    if not top.has("lists"):
        return AgentConfig().lists
    found = top.unique("lists", lambda text: _list(text, directory))
    if not found:
        raise top.error_at("lists", "`lists` is empty; nothing would stay open, so name at least one list")
    return found


def _list(text: str, directory: str) -> str:
    """Give a shipped list's name as it is and any other text as a path that exists."""
    if text.partition("@")[0] in SHIPPED:
        return text
    path = os.path.normpath(os.path.join(directory, text))
    if not text or not os.path.isfile(path):
        known = ", ".join(SHIPPED)
        raise ParseError(f"{text!a} is neither a shipped list ({known}) nor a file at {path}")
    return path


def _endpoint(item: _Section) -> ControlEndpoint:
    if item.has("host") == item.has("address"):
        raise item.error(f"{item.what} needs either `host` or `address`")
    if item.has("host"):
        return ControlEndpoint(
            item.port(), host=item.check("host", lambda: fqdn.normalise(item.text("host")))
        )
    return ControlEndpoint(
        item.port(), address=item.check("address", lambda: rules.parse_address(item.text("address")))
    )


def _control_channel(top: _Section) -> tuple[ControlEndpoint, ...]:
    found: dict[ControlEndpoint, None] = {}
    for item in top.sections("control_channel", ("host", "address", "port")):
        endpoint = _endpoint(item)
        if endpoint in found:
            raise item.error(f"`control_channel` names {endpoint} twice")
        found[endpoint] = None
    return tuple(found)


def _proxies(top: _Section, control: Iterable[ControlEndpoint]) -> tuple[ProxyEndpoint, ...]:
    """Explicit proxies; none may be where the controller is, whose connections are not judged."""
    controllers = {(each.address, each.port) for each in control}
    found: dict[ProxyEndpoint, None] = {}
    for item in top.sections("proxies", ("address", "port")):
        address = item.check("address", partial(rules.parse_address, item.text("address")))
        proxy = ProxyEndpoint(address, item.port())
        if proxy in found:
            raise item.error(f"`proxies` names {proxy} twice")
        if address.is_loopback:
            sentence = (
                f"{address} is this host itself, whose own traffic is judged when it leaves: leave it out"
            )
            raise item.error_at("address", sentence)
        if proxy.port == 53:
            raise item.error_at(
                "port", "port 53 is where resolvers are asked; a proxy there cannot be judged"
            )
        if (proxy.address, proxy.port) in controllers:
            raise item.error(f"{proxy} is the controller in `control_channel`; it cannot be a proxy as well")
        found[proxy] = None
    return tuple(found)


def _exclusions(top: _Section) -> tuple[Exclusion, ...]:
    found: dict[str, Exclusion] = {}
    for item in top.sections("exclusions", _EXCLUSION_KEYS):
        exclusion = _exclusion(item)
        if exclusion.name.lower() in found:
            raise item.error_at("name", f"the exclusion {exclusion.name!r} appears twice")
        found[exclusion.name.lower()] = exclusion
    return tuple(found.values())


def _exclusion(item: _Section) -> Exclusion:
    name = item.check("name", lambda: rules.parse_name(item.required("name")))
    item.required("direction")
    remote, pattern = item.check("remote", lambda: rules.parse_remote(item.required("remote")))
    exclusion = Exclusion(
        name=name,
        direction=Direction(item.one_of("direction", ("out", "in"), "")),
        transport=Transport(item.one_of("protocol", ("tcp", "udp"), "tcp")),
        port=item.port() if item.has("port") else None,
        remote=remote,
        pattern=pattern,
        uid=_uid(item),
    )
    return item.check("direction", lambda: rules.check_exclusion(exclusion))


def _uid(item: _Section) -> int | None:
    process = item.section("process", ("uid", "user", "cgroup"))
    if process is None:
        return None
    if process.has("cgroup"):
        raise process.error_at("cgroup", _NO_CGROUP)
    if process.has("uid") == process.has("user"):
        raise process.error("`process` needs either `uid` or `user`")
    number = process.number("uid")
    if number is not None:
        return process.check("uid", lambda: rules.parse_uid(number))
    return process.check("user", lambda: _uid_of(process.text("user")))


def _uid_of(user: str) -> int:
    if sys.platform != "win32":
        import pwd  # not there on Windows

        try:
            return pwd.getpwnam(user).pw_uid
        except KeyError:
            pass
    raise ParseError(f"this host has no user {user!a}")


def _learn(top: _Section) -> LearnLimits:
    learn = top.section("learn", ("ttl_floor_s", "ttl_ceiling_s", "private_answers"))
    if learn is None:
        return LearnLimits()
    private = learn.unique("private_answers", parse_network)
    floor, ceiling = learn.number("ttl_floor_s"), learn.number("ttl_ceiling_s")
    key = "ttl_floor_s" if floor is not None else "ttl_ceiling_s"
    return learn.check(key, lambda: rules.parse_learn(floor, ceiling, private))


def _notify(top: _Section) -> NotifySettings:
    notify = top.section("notify", ("command", "contact"))
    if notify is None:
        return NotifySettings()
    node = notify.node("command")
    words = notify.text("command") if isinstance(node, Scalar) else notify.texts("command")
    return NotifySettings(
        () if node is None else notify.check("command", lambda: rules.parse_command(words)),
        notify.check("contact", lambda: rules.parse_contact(notify.text("contact"))),
    )


def _controller(top: _Section, directory: str) -> ControllerSettings | None:
    controller = top.section("controller", ("url", "ca", "enrolment_token"))
    if controller is None:
        return None
    ca = controller.text("ca")
    return ControllerSettings(
        controller.check("url", lambda: rules.parse_url(controller.required("url"))),
        os.path.normpath(os.path.join(directory, ca)) if ca else None,
        controller.text("enrolment_token") or None,
    )
