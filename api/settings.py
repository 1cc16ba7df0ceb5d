"""What the controller is told at its start: a file, the environment, the command line; in that order.

Unknown keys and bad values are refused in one sentence. Secrets are named by file, never by value.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any

import yaml

DEFAULT_FILE = Path("/etc/isolator/controller.yaml")
PREFIX = "ISOLATOR_API_"
HOUR_S = 3600.0


class SettingsError(Exception):
    """A settings file or variable cannot be used; the message is one sentence for a person."""


@dataclass(frozen=True, slots=True)
class SingleSignOn:
    """An OpenID Connect provider (OpenID Connect Core 1.0, code flow). Roles come from a claim."""

    issuer: str
    client_id: str
    client_secret_file: Path
    role_claim: str = "roles"
    roles: Mapping[str, str] = field(default_factory=dict)
    """Claim value -> our role; a person whose claims map to none is not let in."""
    group_claim: str = ""
    name: str = "single sign-on"
    """What the button says."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration. Durations in seconds."""

    state_dir: Path = Path("/var/lib/isolator-api")
    database: str = ""
    """Empty: SQLite in the state directory."""
    host: str = "127.0.0.1"
    port: int = 8443
    workers: int = 1
    """More than one needs PostgreSQL."""
    public_url: str = ""
    """How agents and browsers reach the controller; empty: https://HOST:PORT."""
    tls_cert: Path | None = None
    tls_key: Path | None = None
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    """Only these may say who the caller is (X-Forwarded-For, X-Forwarded-Proto)."""
    calls_per_minute: int = 100
    calls_per_hour: int = 1500
    logins_per_minute: int = 10
    """Failed sign-ins and token requests per address and per account."""
    max_body_bytes: int = 1024 * 1024
    undelivered_after_s: float = 72 * HOUR_S
    isolation_lasts_s: float | None = 7 * 24 * HOUR_S
    """How long a host stays isolated when nobody releases it; Microsoft: 7 days. None: for ever."""
    isolations_per_hour: int = 100
    """Blast radius: more need an explicit override."""
    never_isolate_tag: str = "never-isolate"
    long_poll_s: float = 50.0
    sweep_s: float = 5.0
    """How often lost wake-ups and overdue actions are looked for."""
    offline_after_s: float = 180.0
    """Silent for longer: the portal calls the agent offline."""
    session_idle_s: float = 30 * 60.0
    session_lasts_s: float = 12 * HOUR_S
    audit_file: Path | None = None
    """Every audit row and head is appended here as well, for shipping off the host."""
    webhook_url: str = ""
    webhook_secret_file: Path | None = None
    """Signs webhook bodies (HMAC-SHA256)."""
    syslog: str = ""
    """HOST:PORT for RFC 5424 over UDP, or tcp://HOST:PORT."""
    single_sign_on: SingleSignOn | None = None
    log_format: str = "json"
    """`json` or `text`."""
    metrics_public: bool = False
    """Whether /metrics answers without a token to others than loopback."""

    @property
    def database_url(self) -> str:
        """The database address, the default filled in."""
        return self.database or f"sqlite:///{self.state_dir.absolute() / 'controller.db'}"

    @property
    def url(self) -> str:
        """The controller's own address without a slash at its end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (self.public_url or f"https://{host}:{self.port}").rstrip("/")

    def checked(self, source: str) -> Settings:
        """The same settings. SettingsError, naming the source, when values contradict each other."""

        def refuse(sentence: str) -> SettingsError:
            return SettingsError(f"{source}: {sentence}")

        if not 0 <= self.port <= 65_535:
            raise refuse(f"port: {self.port} is no port")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise refuse("tls_cert and tls_key belong together")
        if self.workers < 1:
            raise refuse("workers: at least 1")
        if self.workers > 1 and self.database_url.startswith("sqlite"):
            raise refuse("workers: more than one needs PostgreSQL")
        if self.long_poll_s > 55 or self.long_poll_s < 0:
            raise refuse("long_poll_s: 0 to 55")
        for name in ("calls_per_minute", "calls_per_hour", "logins_per_minute", "max_body_bytes", "sweep_s"):
            if getattr(self, name) <= 0:
                raise refuse(f"{name}: must be above 0")
        if self.log_format not in ("json", "text"):
            raise refuse("log_format: json or text")
        return self


def load_settings(file: Path | None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Settings from a file (None: the default one, when it is there) and ISOLATOR_API_* variables.

    SettingsError names the file or variable, the key, and what is wrong.
    """
    values: dict[str, Any] = {}
    where = file or DEFAULT_FILE
    if file is not None or where.exists():
        values.update(_read(where))
    for each in fields(Settings):
        text = environ.get(PREFIX + each.name.upper())
        if text is not None:
            values[each.name] = text
    return build_settings(values, str(where))


def build_settings(values: Mapping[str, Any], source: str) -> Settings:
    """Settings of plain values. SettingsError when a key is unknown or a value unfit."""
    known = {each.name for each in fields(Settings)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise SettingsError(f"{source}: {unknown[0]!a} is no setting")
    settings = Settings()
    for name, value in values.items():
        try:
            settings = replace(settings, **{name: _convert(name, value, getattr(settings, name))})
        except (TypeError, ValueError) as error:
            raise SettingsError(f"{source}: {name}: {error}") from None
    return settings.checked(source)


def _read(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is no YAML: {str(error).splitlines()[0]}") from None
    if document is None:
        return {}
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise SettingsError(f"{path} must hold settings as `name: value`")
    return document


_PATHS = ("state_dir", "tls_cert", "tls_key", "audit_file", "webhook_secret_file")


def _convert(name: str, value: Any, default: Any) -> Any:
    if name == "single_sign_on":
        return _single_sign_on(value)
    if name == "trusted_proxies":
        items = value.split(",") if isinstance(value, str) else list(value)
        return tuple(ip_network(str(each).strip()) for each in items if str(each).strip())
    if name in _PATHS:
        return Path(value) if value else None
    if name == "isolation_lasts_s":
        return None if value in (None, "", "never") else float(value)
    if isinstance(default, bool):
        if str(value).lower() not in ("true", "false", "1", "0", "yes", "no"):
            raise ValueError(f"{value!a} is neither true nor false")
        return str(value).lower() in ("true", "1", "yes")
    if isinstance(default, int):
        return int(value)
    if isinstance(default, float):
        return float(value)
    if not isinstance(value, str):
        raise ValueError(f"{value!a} is no text")
    return value


def _single_sign_on(value: Any) -> SingleSignOn | None:
    if not value:
        return None
    if not isinstance(value, dict):
        raise ValueError("needs issuer, client_id, client_secret_file and roles")
    allowed = {each.name for each in fields(SingleSignOn)}
    if set(value) - allowed:
        raise ValueError(f"{sorted(set(value) - allowed)[0]!a} is no setting of it")
    return SingleSignOn(**{**value, "client_secret_file": Path(value["client_secret_file"])})
