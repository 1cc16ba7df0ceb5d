"""The one exception of the lab."""

from __future__ import annotations


class LabError(Exception):
    """The machine refused something the lab needs: a stable code, the operation, and what was said."""

    def __init__(self, code: str, operation: str, detail: str = "") -> None:
        self.code = code
        self.operation = operation
        self.detail = detail
        super().__init__(f"{code}: {operation}" + (f": {detail}" if detail else ""))
