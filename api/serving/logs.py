"""The process's log: one line an event on standard error, JSON or text, without secrets."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

from api.core.instant import render_instant
from api.settings import Settings

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
"""What every record has; anything else was given as `extra` and belongs into the line."""

_SECRETS = re.compile(
    r"(?i)(bearer\s+)[\w.~+/=-]{12,}"
    r"|\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*"
    r"|((?:password|client_secret|secret|token|code|state|session)=)[^&\s\"']+"
    r"|(://[^/\s:@]+:)[^@/\s]+(?=@)"
)
"""What must not be there anyhow; taken out in case some library's message has it."""


def without_secrets(text: str) -> str:
    """The text with whatever looks like a bearer token, a password or a secret parameter blotted out."""
    return _SECRETS.sub(lambda found: f"{found[1] or found[2] or found[3] or ''}***", text)


class JsonLines(logging.Formatter):
    """A log record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The line. A traceback is one text in `exception`."""
        return without_secrets(json.dumps(self._values(record), ensure_ascii=False, default=str))

    def _values(self, record: logging.LogRecord) -> dict[str, Any]:
        values: dict[str, Any] = {
            "at": render_instant(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{key: value for key, value in record.__dict__.items() if key not in _STANDARD},
        }
        if record.exc_info and record.exc_info[0] is not None:
            values["exception"] = self.formatException(record.exc_info)
        return values


class TextLines(JsonLines):
    """A log record as text; line breaks in messages are escaped, so that nobody forges a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, and a traceback below it."""
        values = self._values(record)
        at, level, name, message = (values.pop(key) for key in ("at", "level", "logger", "message"))
        trace = values.pop("exception", "")
        named = "".join(f" {key}={json.dumps(value, default=str)}" for key, value in values.items())
        line = f"{at} {level:<7} {name}: {_one_line(str(message))}{named}"
        return without_secrets(f"{line}\n{trace}" if trace else line)


def configure_logs(settings: Settings, stream: TextIO | None = None) -> None:
    """Set the process's log up as configured."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines() if settings.log_format == "json" else TextLines())
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    # They say at INFO what we say ourselves, or, as httpx does, whole addresses that may be secret.
    for name in ("uvicorn", "uvicorn.error", "httpx", "httpcore", "alembic", "authlib", "sqlalchemy"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _one_line(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\r", "\\r").replace("\n", "\\n")
