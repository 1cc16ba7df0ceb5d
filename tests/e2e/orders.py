"""Orders straight to an agent's socket: what the command does, without starting a program for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isolator.adapters.order_socket import ask
from tests.lab.agent import Agent


def isolate(agent: Agent, *lists: str, **order: object) -> Mapping[str, Any]:
    """Order isolation with these lists (none: those of agent.yaml); IsolatorError when it is refused."""
    document = {
        "scope": "full",
        "lists": list(lists) or None,
        "geo": None,
        "profile": None,
        "duration_s": None,
        "comment": "",
        "on_silence": "roll_back",
        **order,
    }
    return ask(agent.socket, {"do": "isolate", "order": document, "dry_run": False}, 60)


def release(agent: Agent) -> Mapping[str, Any]:
    """Order the release."""
    return ask(agent.socket, {"do": "release", "comment": ""}, 60)


def status(agent: Agent) -> Mapping[str, Any]:
    """What `status --json` says."""
    return ask(agent.socket, {"do": "status"}, 60)


def explain(agent: Agent, destination: str) -> Mapping[str, Any]:
    """What `explain --json` says."""
    return ask(agent.socket, {"do": "explain", "destination": destination}, 60)
