"""Picks the adapters for this platform; the one module that knows both services and adapters."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from isolator.adapters.order_socket import OrderSocket, ask
from isolator.model.failure import EXIT_CODES, FailureCode, IsolatorError

if TYPE_CHECKING:
    from isolator.model.config import AgentConfig
    from isolator.ports import Capability, FlowQueue, PacketQueue, Request, Response
    from isolator.service.agent import Agent

QUEUE_NUMBER = 17_053
"""Netfilter queue of the gate, for datagrams; connections take the next. High: others have low numbers."""

START_DEADLINE_S = 15.0


@dataclass(frozen=True, slots=True)
class Places:
    """Where this agent keeps its things. `named_config`: the person named the file, so it must exist."""

    config: Path
    state_dir: Path
    socket: Path
    named_config: bool = False

    @property
    def log(self) -> Path:
        """Log of an agent that was started for an order."""
        return self.state_dir / "agent.log"


DEFAULT_PLACES = Places(
    Path("/etc/isolator/agent.yaml"), Path("/var/lib/isolator"), Path("/run/isolator/agent.sock")
)


def places(config: str | None, state_dir: str | None, socket: str | None) -> Places:
    """Arguments first, then the environment, then the defaults of the installed service."""
    named = config or os.environ.get("ISOLATOR_CONFIG")
    return Places(
        Path(named or DEFAULT_PLACES.config).absolute(),
        Path(state_dir or os.environ.get("ISOLATOR_STATE_DIR") or DEFAULT_PLACES.state_dir).absolute(),
        Path(socket or os.environ.get("ISOLATOR_SOCKET") or DEFAULT_PLACES.socket).absolute(),
        named_config=named is not None,
    )


def make_agent(where: Places, *, standalone: bool) -> Agent:
    """An agent for this Linux host. IsolatorError when the platform or the state directory refuses."""
    _need_linux()
    # Imported here: a command that only asks an agent must not wait for what only agents need.
    from allowlists.files import load
    from isolator.adapters.agent_config import load_config
    from isolator.adapters.api_client import HttpsControllerClient
    from isolator.adapters.clock import SystemClock
    from isolator.adapters.control_probe import TcpControlProbe
    from isolator.adapters.flow_table import LinuxFlowTable
    from isolator.adapters.host_facts import LinuxHostInspector
    from isolator.adapters.machine_facts import LinuxMachineFacts
    from isolator.adapters.nftables import NftablesBackend
    from isolator.adapters.notify import PersonNotifier
    from isolator.adapters.resolver import DnsNameResolver
    from isolator.adapters.state_file import StateFile
    from isolator.service.agent import Agent
    from isolator.service.controller import Controller, Outside
    from isolator.service.controller_link import ControllerLink, Outgoing
    from isolator.service.dns_learner import DnsLearner
    from isolator.service.link_state import LinkState
    from isolator.service.remote_orders import RemoteOrders

    backend = NftablesBackend()
    clock = SystemClock()
    inspector = LinuxHostInspector()

    def configure() -> AgentConfig:
        return load_config(where.config, required=where.named_config)

    outside = Outside(
        backend=backend,
        queue=_packet_queue(),
        flows=LinuxFlowTable(),
        notifier=PersonNotifier(configure().notify),
        store=StateFile(where.state_dir / "journal.json"),
        clock=clock,
        resolver=DnsNameResolver(),
        probe=TcpControlProbe(),
        inspector=inspector,
        flow_queue=_flow_queue(),
    )
    gate = DnsLearner(backend, clock)
    controller = Controller(outside, gate, load_config=configure, load_list=load, queue_number=QUEUE_NUMBER)
    # An agent that was started for an order too: while it runs, the service's own agent cannot.
    remote = RemoteOrders(controller, LinkState(StateFile(where.state_dir / "link.json")))
    link = None
    if configure().controller is not None:
        facts = LinuxMachineFacts(lambda: inspector.facts().own_addresses)
        link = ControllerLink(remote, Outgoing(HttpsControllerClient, configure, facts))
    return Agent(controller, OrderSocket(where.socket), remote=remote, link=link, standalone=standalone)


def _packet_queue() -> PacketQueue:
    try:
        from isolator.adapters.nfqueue import NfqueueQueue
    except ImportError as error:
        sentence = f"the Python package netfilterqueue cannot be loaded ({error}); install it anew"
        raise IsolatorError(FailureCode.NO_QUEUE, "start", sentence) from error
    return NfqueueQueue()


def _flow_queue() -> FlowQueue:
    from isolator.adapters.nfqueue import FlowNfqueue

    return FlowNfqueue()


def capabilities() -> tuple[Capability, ...]:
    """What this host can do, for `doctor`."""
    _need_linux()
    from isolator.adapters.nftables import NftablesBackend

    return NftablesBackend().capabilities()


def _need_linux() -> None:
    if sys.platform != "linux":
        raise IsolatorError(
            FailureCode.NOT_SUPPORTED, "start", "isolation is available on Linux only in this version"
        )


def ask_agent(where: Places, request: Request, timeout_s: float = 60.0) -> Response:
    """Ask the agent that answers on the socket; IsolatorError AGENT_UNREACHABLE when there is none."""
    _need_linux()
    return ask(where.socket, request, timeout_s)


def ask_or_start_agent(where: Places, request: Request, timeout_s: float = 60.0) -> Response:
    """Ask the agent; when none runs, start one for this order first."""
    _need_linux()
    try:
        return ask(where.socket, request, timeout_s)
    except IsolatorError as error:
        if error.code is not FailureCode.AGENT_UNREACHABLE or _answers(where):
            raise
    _start_agent(where)
    return ask(where.socket, request, timeout_s)


def _answers(where: Places) -> bool:
    try:
        ask(where.socket, {"do": "status"}, 5.0)
    except IsolatorError as error:
        return error.code is not FailureCode.AGENT_UNREACHABLE
    return True


def _start_agent(where: Places) -> None:
    """A detached agent with its log in the state directory; returns when it answers."""
    command = [
        sys.executable,
        "-m",
        "isolator",
        *("--state-dir", str(where.state_dir)),
        *("--socket", str(where.socket)),
        *(("--config", str(where.config)) if where.named_config else ()),
        *("agent", "--standalone"),
    ]
    try:
        where.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        log = where.log.open("ab")
    except OSError as error:
        code = (
            FailureCode.NO_PERMISSION if isinstance(error, PermissionError) else FailureCode.STATE_UNWRITABLE
        )
        raise IsolatorError(
            code,
            "start_agent",
            f"cannot write to {where.state_dir}: {error.strerror}; run this as root or choose --state-dir",
        ) from error
    with log:
        started_at = log.tell()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    deadline = time.monotonic() + START_DEADLINE_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise _start_failure(where, started_at, process.returncode)
        if _answers(where):
            return
        time.sleep(0.02)
    raise IsolatorError(
        FailureCode.AGENT_UNREACHABLE,
        "start_agent",
        f"the agent that was started does not answer on {where.socket}; see {where.log}",
    )


def _start_failure(where: Places, started_at: int, returncode: int) -> IsolatorError:
    """What the agent said last, as the error it was."""
    text = where.log.read_bytes()[started_at:].decode(errors="replace").strip()
    last = text.splitlines()[-1] if text else "it said nothing"
    by_exit = {EXIT_CODES[code]: code for code in (FailureCode.BAD_CONFIG, FailureCode.NO_PERMISSION)}
    code = by_exit.get(returncode, FailureCode.AGENT_UNREACHABLE)
    return IsolatorError(code, "start_agent", last.removeprefix("isolator: "))
