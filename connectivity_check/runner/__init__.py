"""The run: every target at once, one deadline each, controls for those that fail, one report at the end."""

from connectivity_check.runner.clock import SystemClock
from connectivity_check.runner.run import RunOptions, Tools, run

__all__ = ["RunOptions", "SystemClock", "Tools", "run"]
