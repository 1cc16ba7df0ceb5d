"""One row before the judge: the target, what was seen, what the run knows, and how a finding is made."""

from __future__ import annotations

from dataclasses import dataclass

from connectivity_check.core import facts
from connectivity_check.core.hints import hint
from connectivity_check.core.known import Known
from connectivity_check.failure import Failure, Severity
from connectivity_check.model import (
    Blocker,
    BlockerKind,
    Confidence,
    Finding,
    Observation,
    Role,
    Scope,
    Step,
    Target,
)

_NOBODY = Blocker()


@dataclass(frozen=True, slots=True)
class Case:
    """What the judges of the layers get. They may look at nothing else."""

    target: Target
    seen: tuple[Observation, ...]
    known: Known
    timeout_s: float = 5.0

    def probes(self, step: Step) -> tuple[Observation, ...]:
        """Give the row's own observations of a step."""
        return facts.of(self.seen, step)

    def controls(self, role: Role, step: Step | None = None) -> tuple[Observation, ...]:
        """Give the controls of a role, the row's own first, then those of the whole run."""
        found = (*facts.roles(self.seen, role), *self.known.shared_of(role))
        return tuple(each for each in found if step is None or each.step is step)

    def passed(self, role: Role, step: Step | None = None) -> bool:
        """Whether a control of this role succeeded."""
        return any(each.ok for each in self.controls(role, step))

    def answered(self, role: Role) -> bool:
        """Whether a handshake of this role got TLS bytes back; an alert counts, silence and reset do not."""
        return any(facts.answered(each) for each in self.controls(role, Step.TLS_HANDSHAKE))

    @property
    def others_pass(self) -> bool:
        """Whether another host of the run passes by the same way: the way out itself is open."""
        # Controls take other ways (--control-proxy, ALTERNATE) and say nothing about the row's own.
        via = next((each.via for each in self.seen if each.via and each.role is Role.PROBE), "")
        return any(p.host != self.target.host and p.via == via for p in self.known.passes)

    def finding(
        self,
        failure: Failure,
        step: Step | None,
        *reasons: str,
        blocker: Blocker = _NOBODY,
        scope: Scope = Scope.ENDPOINT,
        confidence: Confidence = Confidence.LIKELY,
        severity: Severity | None = None,
    ) -> Finding:
        """Make a finding with the hint for it."""
        return Finding(
            failure=failure,
            step=step,
            reasons=tuple(each for each in reasons if each),
            hint=hint(failure, self.target, blocker),
            blocked_by=blocker,
            scope=scope,
            confidence=confidence,
            severity=severity or failure.severity,
        )

    def firewall(self, address: str = "", name: str = "") -> Blocker:
        """Give a firewall as the blocker."""
        return Blocker(BlockerKind.FIREWALL, address, name)

    def proxy(self, name: str = "", *, via: str = "") -> Blocker:
        """Give a proxy as the blocker: the one tried (a PAC file may list several), else the row's."""
        first = self.target.route.proxy
        return Blocker(BlockerKind.PROXY, via or (str(first) if first else ""), name)
