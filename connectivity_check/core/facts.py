"""Reading evidence: values of the type one expects, whatever a recorded file holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from connectivity_check.model import Json, Observation, Role, Step

_MOST = 1e300
"""More than any measurement; a longer integer of a recorded file would not fit into a float."""


def text(observation: Observation, key: str) -> str:
    """Give a text of the evidence, "" when it is missing or of another type."""
    value = observation.evidence.get(key)
    return value if isinstance(value, str) else ""


def number(observation: Observation, key: str, default: float = 0.0) -> float:
    """Give a number of the evidence, else the default; NaN and what no float can hold are no numbers."""
    value = observation.evidence.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return default
    return value if -_MOST < value < _MOST else default


def texts(observation: Observation, key: str) -> tuple[str, ...]:
    """Give a list of texts, without what is no text."""
    value = observation.evidence.get(key)
    if isinstance(value, str) or not isinstance(value, Sequence):
        return ()
    return tuple(each for each in value if isinstance(each, str))


def mapping(observation: Observation, key: str) -> Mapping[str, Json]:
    """Give an object of the evidence, empty when it is missing."""
    value = observation.evidence.get(key)
    return value if isinstance(value, Mapping) else {}


def mappings(observation: Observation, key: str) -> tuple[Mapping[str, Json], ...]:
    """Give a list of objects, without what is none."""
    value = observation.evidence.get(key)
    if isinstance(value, str) or not isinstance(value, Sequence):
        return ()
    return tuple(each for each in value if isinstance(each, Mapping))


def field_text(value: Mapping[str, Json], key: str) -> str:
    """Give a text of an object, "" when it is missing."""
    found = value.get(key)
    return found if isinstance(found, str) else ""


def addresses_of(observation: Observation) -> tuple[str, ...]:
    """Give the addresses of a resolve."""
    return texts(observation, "addresses")


def of(observations: Iterable[Observation], step: Step, role: Role = Role.PROBE) -> tuple[Observation, ...]:
    """Give the observations of one step and role, in order."""
    return tuple(each for each in observations if each.step is step and each.role is role)


def roles(observations: Iterable[Observation], role: Role) -> tuple[Observation, ...]:
    """Give the observations of one role."""
    return tuple(each for each in observations if each.role is role)


def answered(observation: Observation) -> bool:
    """Whether a handshake got as far as bytes of TLS from the other side: the way is open for this name."""
    if observation.ok or observation.evidence.get("chain"):
        return True
    return text(observation, "stage") in ("server_hello", "certificate", "finished") or (
        "alert" in observation.evidence
    )
