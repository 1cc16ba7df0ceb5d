"""Bad news from outside, wrapped once where it happens."""

from __future__ import annotations

from enum import Enum


class FailureCode(Enum):
    """Stable codes of what can go wrong; the value is what logs, JSON and tests show."""

    BAD_CONFIG = "bad_config"
    BAD_LIST = "bad_list"
    BAD_ORDER = "bad_order"
    EMPTY_LIST = "empty_list"
    NO_RESOLVER = "no_resolver"
    NO_PERMISSION = "no_permission"
    NO_NFTABLES = "no_nftables"
    NO_QUEUE = "no_queue"
    NOT_SUPPORTED = "not_supported"
    KERNEL_REFUSED = "kernel_refused"
    NOT_AS_WANTED = "not_as_wanted"
    CONTROL_CHANNEL_CUT = "control_channel_cut"
    CONTROL_CHANNEL_SILENT = "control_channel_silent"
    STATE_UNREADABLE = "state_unreadable"
    STATE_UNWRITABLE = "state_unwritable"
    AGENT_UNREACHABLE = "agent_unreachable"
    IN_PROGRESS = "in_progress"
    HELD_BY_CONTROLLER = "held_by_controller"
    CONTROLLER_UNREACHABLE = "controller_unreachable"
    CONTROLLER_REFUSED = "controller_refused"
    NOT_BELIEVED = "not_believed"
    INTERNAL = "internal"


EXIT_CODES: dict[FailureCode, int] = {
    FailureCode.BAD_CONFIG: 2,
    FailureCode.BAD_LIST: 2,
    FailureCode.BAD_ORDER: 2,
    FailureCode.EMPTY_LIST: 2,
    FailureCode.NO_RESOLVER: 2,
    FailureCode.NO_PERMISSION: 4,
    FailureCode.NO_NFTABLES: 4,
    FailureCode.NO_QUEUE: 4,
    FailureCode.NOT_SUPPORTED: 4,
    FailureCode.KERNEL_REFUSED: 1,
    FailureCode.NOT_AS_WANTED: 1,
    FailureCode.CONTROL_CHANNEL_CUT: 2,
    FailureCode.CONTROL_CHANNEL_SILENT: 1,
    FailureCode.STATE_UNREADABLE: 1,
    FailureCode.STATE_UNWRITABLE: 1,
    FailureCode.AGENT_UNREACHABLE: 3,
    FailureCode.IN_PROGRESS: 1,
    FailureCode.HELD_BY_CONTROLLER: 1,
    FailureCode.CONTROLLER_UNREACHABLE: 3,
    FailureCode.CONTROLLER_REFUSED: 1,
    FailureCode.NOT_BELIEVED: 2,
    FailureCode.INTERNAL: 1,
}
"""Exit code of the `isolator` command for each failure; a missing pair is an error."""


class IsolatorError(Exception):
    """The outside failed: which code, during which operation, and one sentence for a person."""

    def __init__(self, code: FailureCode, operation: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.operation = operation
        self.sentence = sentence

    def response(self) -> dict[str, object]:
        """The agent's answer that carries this failure to whoever asked."""
        failure = {"code": self.code.value, "operation": self.operation, "sentence": self.sentence}
        return {"ok": False, "error": failure}

    @property
    def exit_code(self) -> int:
        """The documented exit code of the command that ends with this failure."""
        return EXIT_CODES[self.code]
