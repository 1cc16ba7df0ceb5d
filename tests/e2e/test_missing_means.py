"""A host that lacks what isolation needs: one sentence that says what, exit code 4, and the host untouched."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from netfilterqueue import NetfilterQueue

from isolator.wiring import QUEUE_NUMBER
from tests.e2e import orders
from tests.lab import Lab, world
from tests.lab.agent import Agent, Outcome
from tests.lab.failure import LabError

pytestmark = [pytest.mark.netns, pytest.mark.e2e]

ISOLATOR = (sys.executable, "-m", "isolator")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as made:
        yield made


@pytest.fixture(autouse=True)
def untouched(lab: Lab) -> Iterator[None]:
    """After each test: no rule in the device, everything reached."""
    yield
    assert lab.device.run(["nft", "list", "ruleset"], check=True).stdout == ""
    assert lab.reach.tcp(world.UNLISTED_ADDRESS.v4).ok


def refused(outcome: Outcome, code: int, *words: str) -> None:
    """One sentence on stderr with these words, and the documented exit code."""
    assert (outcome.exit_code, outcome.stdout) == (code, ""), outcome
    assert outcome.stderr.startswith("isolator: "), outcome
    assert outcome.stderr.count("\n") == 1, outcome
    assert "Traceback" not in outcome.stderr
    for word in words:
        assert word in outcome.stderr


def hiding(*files: str) -> tuple[str, ...]:
    """The command, for which these files are empty and cannot be run."""
    script = "".join(f"mount --bind /dev/null {file} && " for file in files)
    return ("unshare", "--mount", "sh", "-c", script + 'exec "$@"', "sh", *ISOLATOR)


def is_available(agent: Agent, code: str) -> bool:
    """What doctor says of one capability."""
    outcome = agent.isolator("doctor", "--json")
    found = {each["code"]: each["available"] for each in outcome.json()["capabilities"]}
    assert outcome.exit_code == (
        0 if all(found[name] for name in ("permission", "nftables", "fib", "queue")) else 4
    )
    return bool(found[code])


def libraries() -> list[str]:
    """Where the loader finds libnftables.so.1."""
    listed = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    return [str(Path(path).resolve()) for path in re.findall(r"libnftables\.so\.1 .* => (.+)", listed)]


def program() -> str:
    found = shutil.which("nft", path="/usr/local/sbin:/usr/sbin:/sbin")
    assert found
    return str(Path(found).resolve())


def test_without_nftables(lab: Lab) -> None:
    agent = lab.agent(command=hiding(*libraries(), program()))
    refused(agent.isolator("isolate"), 4, "install the package nftables")
    assert not is_available(agent, "nftables")


def build(lab: Lab, source: str) -> str:
    """Compile a wrapper that a program gets preloaded."""
    made = lab.directory / source.replace(".c", ".so")
    file = Path(__file__).with_name(source)
    command = ["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(made), str(file), "-ldl"]
    subprocess.run(command, check=True, timeout=60)
    return str(made)


def test_with_the_program_nft_alone_it_works(lab: Lab) -> None:
    """The fallback: slower, and the same isolation."""
    agent = lab.agent(environment={"LD_PRELOAD": build(lab, "no_library.c")})
    assert not is_available(agent, "libnftables")
    with agent:
        assert agent.isolator("isolate").exit_code == 0
        assert not lab.reach.tcp(world.UNLISTED_ADDRESS.v4).ok
        assert lab.reach.tls(world.WILDCARD).ok
        assert orders.status(agent)["state"] == "isolated"
        assert agent.isolator("release").exit_code == 0


@pytest.mark.parametrize(
    ("absent", "said"),
    [
        ("queue", "NFQUEUE"),
        ("fib", "load the module nft_fib_inet (modprobe nft_fib_inet)"),
    ],
)
def test_without_an_expression_of_the_kernel(lab: Lab, absent: str, said: str) -> None:
    """Isolate says what doctor says, and nothing was tried."""
    agent = lab.agent(environment={"LD_PRELOAD": build(lab, "no_expression.c"), "ABSENT": absent})
    refused(agent.isolator("isolate"), 4, said)
    refused(agent.isolator("isolate", "--dry-run"), 4, said)
    assert not is_available(agent, absent)
    shown = agent.isolator("doctor").stdout.splitlines()
    assert [line for line in shown if line.startswith(f"NO   {absent} ") and said in line]
    assert shown[-1] == "this host cannot be isolated yet"
    assert is_available(lab.agent(), absent), "control"


def test_a_boot_into_a_kernel_without_fib(lab: Lab) -> None:
    """The isolation cannot be put in force again: the agent says why and ends; with the expression it is back."""
    agent = lab.agent()
    agent.start()
    orders.isolate(agent)
    agent.kill()
    lab.device.run(["nft", "delete", "table", "inet", "isolator"], check=True)
    poor = replace(agent, environment={"LD_PRELOAD": build(lab, "no_expression.c"), "ABSENT": "fib"})
    with pytest.raises(LabError):
        poor.start()
    assert poor.process is not None
    assert poor.process.returncode == 4
    assert "load the module nft_fib_inet" in agent.log.read_text().splitlines()[-1]
    assert "hook" not in lab.device.run(["nft", "list", "ruleset"], check=True).stdout, "half an isolation"
    with replace(agent, process=None) as whole:
        assert orders.status(whole)["state"] == "isolated"
        orders.release(whole)


def test_without_the_queue_library(lab: Lab) -> None:
    """An installation that is not whole: the compiled binding is missing."""
    binding = sys.modules[NetfilterQueue.__module__].__file__
    assert binding
    agent = lab.agent(command=hiding(binding))
    refused(agent.isolator("isolate"), 4, "netfilterqueue")


def test_with_the_queue_in_other_hands(lab: Lab) -> None:
    """Somebody listens on our queue number: rolled back, told, nothing left."""

    def listen() -> NetfilterQueue:
        listener = NetfilterQueue()
        listener.bind(QUEUE_NUMBER, lambda packet: packet.drop())
        return listener

    other = lab.device.in_namespace(listen)
    try:
        with lab.agent() as agent:
            refused(agent.isolator("isolate"), 4, str(QUEUE_NUMBER), "another program")
            assert orders.status(agent)["state"] == "connected"
    finally:
        other.unbind()
    with lab.agent() as agent:
        assert agent.isolator("isolate").exit_code == 0, "control: it was the other one"
        orders.release(agent)
