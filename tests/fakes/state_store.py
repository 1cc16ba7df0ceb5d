"""A journal in memory."""

from __future__ import annotations

import json
from collections.abc import Mapping

from isolator.model.failure import FailureCode, IsolatorError


class FakeStateStore:
    """Keeps the text, so that only what JSON can say survives. `text` may be damaged by a test.

    `disk_full` makes `save` fail. `saved` holds every version that was written.
    """

    def __init__(self) -> None:
        self.text: str | None = None
        self.saved: list[Mapping[str, object]] = []
        self.disk_full = False

    def load(self) -> Mapping[str, object] | None:
        """The last document."""
        if self.text is None:
            return None
        try:
            document = json.loads(self.text)
        except (ValueError, RecursionError) as error:
            raise _unreadable(str(error)) from error
        if not isinstance(document, dict):
            raise _unreadable("not an object")
        return document

    def save(self, document: Mapping[str, object]) -> None:
        """Replace."""
        text = json.dumps(document, allow_nan=False, sort_keys=True)
        if self.disk_full:
            sentence = "the state cannot be written: No space left on device"
            raise IsolatorError(FailureCode.STATE_UNWRITABLE, "save state", sentence)
        self.text = text
        self.saved.append(json.loads(text))

    def clear(self) -> None:
        """Forget."""
        self.text = None


def _unreadable(why: str) -> IsolatorError:
    return IsolatorError(FailureCode.STATE_UNREADABLE, "load state", f"the state cannot be read: {why}")
