"""P5 for names: what an address was learned for is known to the next agent too, however the one before ended.

Two services share the wildcards' addresses with nobody, so a name of one is refused at the other's. What is
written beside the kernel's elements is also taken away, forged and kept for a policy that has changed.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e import orders
from tests.e2e.forge import Forge
from tests.e2e.own_list import Row, write_list
from tests.lab import Host, Lab
from tests.netns.test_promise_p5_names import PORT, UNLISTED, Client, Scene, outcome

pytestmark = [pytest.mark.netns, pytest.mark.timeout(180)]

EXACT, EXACT_ADDRESS = "api.vendor.example", "20.91.0.1"
WILD = "node7.fleet.vendor.example"
WILD_ADDRESSES = {socket.AF_INET: "20.91.0.3", socket.AF_INET6: "2603:1098::3"}
SISTER = "node8.fleet.vendor.example"
"""Under the same wildcard; nobody asks for it."""
OTHER_WILD, OTHER_ADDRESS = "eu.cloud.vendor.example", "20.91.0.4"
SHARED_WILD = "both.cloud.vendor.example"
"""Resolves to the addresses of the first wildcard as well: attack 11 with two listed names."""
EXCLUDED, EXCLUDED_ADDRESS = "tool.desk.vendor.example", "20.91.0.5"
STRANGER = "20.91.0.66"
UDP_PORT = 9514
CONFIG = (
    "exclusions:\n"
    f'- {{name: desk, direction: out, remote: "*.desk.vendor.example", port: {PORT}, protocol: tcp}}\n'
)


def _end_by_sigkill(forge: Forge) -> None:
    forge.kill()
    assert forge.wait() == -signal.SIGKILL


def _end_in_order(forge: Forge) -> None:
    assert forge.pid is not None
    os.kill(forge.pid, signal.SIGTERM)
    assert forge.wait() == 0


ENDS: dict[str, Callable[[Forge], None]] = {"killed": _end_by_sigkill, "stopped": _end_in_order}


@pytest.fixture
def scene() -> Iterator[Scene]:
    with Lab() as lab:
        lab.resolver.put(
            Host(EXACT, (EXACT_ADDRESS,)),
            Host(WILD, (WILD_ADDRESSES[socket.AF_INET],), (WILD_ADDRESSES[socket.AF_INET6],), ttl=3600),
            Host(OTHER_WILD, (OTHER_ADDRESS,), ttl=3600),
            Host(
                SHARED_WILD, (WILD_ADDRESSES[socket.AF_INET],), (WILD_ADDRESSES[socket.AF_INET6],), ttl=3600
            ),
            Host(EXCLUDED, (EXCLUDED_ADDRESS,), ttl=3600),
        )
        lab.servers.listen(lab.internet, [("tcp_echo", PORT), ("udp_echo", UDP_PORT)])
        rows = (
            Row(EXACT, PORT),
            Row("*.fleet.vendor.example", PORT),
            Row("*.cloud.vendor.example", PORT),
            Row("*.fleet.vendor.example", UDP_PORT, "udp"),
        )
        with Forge(lab, f"{CONFIG}lists: [{write_list(lab.directory / 'own.yaml', rows)}]\n") as forge:
            orders.isolate(forge.agent, scope="selective")
            made = Scene(lab, forge)
            for name in (WILD, OTHER_WILD, EXCLUDED):
                made.ask(name)
            made.ask(WILD, "AAAA")
            yield made
            orders.release(forge.agent)


@pytest.fixture(params=WILD_ADDRESSES, ids=["v4", "v6"])
def address(request: pytest.FixtureRequest) -> str:
    return WILD_ADDRESSES[request.param]


def table(lab: Lab, name: str) -> list[dict[str, Any]]:
    """The elements of a set as nft lists them."""
    listing = lab.device.run(["nft", "-j", "list", "set", "inet", "isolator", name], check=True).stdout
    (body,) = (item["set"] for item in json.loads(listing)["nftables"] if "set" in item)
    return [each["elem"] for each in body.get("elem", ())]


def comment_at(lab: Lab, address: str) -> str:
    """What stands beside the element of an address at the port of the tests."""
    elements = table(lab, f"learned{6 if ':' in address else 4}")
    (found,) = (each["comment"] for each in elements if each["val"]["concat"] == [address, "tcp", PORT])
    return str(found)


def put(lab: Lab, address: str, comment: str | None, transport: str = "tcp", port: int = PORT) -> None:
    """What an intruder does: elements in the place of whatever is there, for answers too."""
    key = f"{address} . {transport} . {port}"
    version = 6 if ":" in address else 4
    beside = "" if comment is None else f' comment "{comment}"'
    script = (
        f"add element inet isolator learned{version} {{ {key} }}\n"
        f"delete element inet isolator learned{version} {{ {key} }}\n"
        f"add element inet isolator learned{version} {{ {key} timeout 1h{beside} }}\n"
        f"add element inet isolator seen{version} {{ {key} timeout 1h }}\n"
    )
    lab.device.run(["nft", "-f", "-"], stdin=script, check=True)


def restart(scene: Scene, end: Callable[[Forge], None] = _end_by_sigkill) -> None:
    end(scene.forge)
    scene.forge.start()


def udp_comes_back(lab: Lab, address: str) -> bool:
    with lab.device.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(1.0)
        try:
            sock.sendto(b"word", (address, UDP_PORT))
            return sock.recv(100) == b"word"
        except OSError:
            return False


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_a_wildcard_is_as_strict_as_before(scene: Scene, end: Callable[[Forge], None]) -> None:
    """No name is asked for again; the second restart finds what the first has left."""
    lab = scene.lab
    for round_ in range(3):
        if round_:
            restart(scene, end)
        for at in WILD_ADDRESSES.values():
            assert outcome(lab, at, WILD) == "echo"
            assert outcome(lab, at, SISTER) == "echo", "the entry covers it (ADR 0009)"
            assert outcome(lab, at, EXACT) == "reset"
            assert outcome(lab, at, OTHER_WILD) == "reset"
            assert outcome(lab, at, UNLISTED) == "reset"
        assert outcome(lab, OTHER_ADDRESS, OTHER_WILD) == "echo"
        assert outcome(lab, OTHER_ADDRESS, WILD) == "reset"
        assert outcome(lab, EXACT_ADDRESS, EXACT) == "echo"
        assert outcome(lab, EXACT_ADDRESS, WILD) == "reset"


def test_an_address_of_two_wildcards_stays_one_of_both(scene: Scene, address: str) -> None:
    """The second name comes to an element that is there: what stands beside it must say both."""
    assert outcome(scene.lab, address, OTHER_WILD) == "reset"
    scene.ask(SHARED_WILD, "AAAA" if ":" in address else "A")
    restart(scene)
    for name in (WILD, SHARED_WILD, OTHER_WILD):
        assert outcome(scene.lab, address, name) == "echo"
    assert outcome(scene.lab, address, EXACT) == "reset"


def test_what_is_excluded_by_name_stays_unread_at_its_own_addresses_only(scene: Scene) -> None:
    lab = scene.lab
    for round_ in range(2):
        if round_:
            restart(scene)
        assert outcome(lab, EXCLUDED_ADDRESS, UNLISTED) == "echo"
        for at in (*WILD_ADDRESSES.values(), OTHER_ADDRESS, EXACT_ADDRESS):
            assert outcome(lab, at, UNLISTED) == "reset"


def test_an_approved_connection_goes_on_where_nothing_is_believed_any_more(
    scene: Scene, address: str
) -> None:
    """The element is damaged: nothing new there until the name is asked for again."""
    lab = scene.lab
    with contextlib.closing(Client(lab, address, WILD)) as old:
        old.say(old.hello)
        assert old.hears(old.hello) == "echo"
        put(lab, address, None)
        restart(scene)
        assert old.goes_on()
        assert outcome_or_refused(lab, address, WILD) == "refused"
        scene.ask(WILD, "AAAA" if ":" in address else "A")
        assert outcome(lab, address, WILD) == "echo"
        assert outcome(lab, address, EXACT) == "reset"
        assert old.goes_on()


def outcome_or_refused(lab: Lab, address: str, name: str) -> str:
    try:
        return outcome(lab, address, name)
    except ConnectionRefusedError:
        return "refused"


class TestForged:
    """Somebody writes into the sets and has the agent start again."""

    def test_no_comment_of_theirs_opens_an_address(self, scene: Scene) -> None:
        lab = scene.lab
        stolen = comment_at(lab, WILD_ADDRESSES[socket.AF_INET])
        for number, comment in enumerate((None, "x", "A" * 24, stolen, stolen[:-1])):
            put(lab, f"20.91.0.{70 + number}", comment)
        put(lab, STRANGER, stolen, "udp", UDP_PORT)
        assert udp_comes_back(lab, STRANGER), "positive control: the kernel alone lets datagrams through"
        restart(scene)
        for number in range(5):
            for name in (WILD, EXACT, UNLISTED):
                assert outcome_or_refused(lab, f"20.91.0.{70 + number}", name) == "refused"
        assert not udp_comes_back(lab, STRANGER)
        assert udp_comes_back(lab, WILD_ADDRESSES[socket.AF_INET])
        addresses = {each["val"]["concat"][0] for each in table(lab, "learned4")}
        assert {each for each in addresses if each.startswith("20.91.")} == {
            *(EXACT_ADDRESS, WILD_ADDRESSES[socket.AF_INET], OTHER_ADDRESS, EXCLUDED_ADDRESS)
        }
        (said,) = (line for line in scene.forge.agent.log.read_text().splitlines() if "credibly" in line)
        assert "6 learned addresses" in said

    def test_an_old_comment_in_a_new_element_is_over_when_it_was(self, scene: Scene) -> None:
        """The lifetime that counts is the written one, not the one that nft is told."""
        lab = scene.lab
        lab.resolver.put(Host("short.fleet.vendor.example", ("20.91.0.80",), ttl=1))
        scene.ask("short.fleet.vendor.example")
        put(lab, "20.91.0.80", comment_at(lab, "20.91.0.80"))
        restart(scene)
        assert outcome(lab, "20.91.0.80", WILD) == "echo"
        held = [
            each for each in table(lab, "learned4") if each["val"]["concat"] == ["20.91.0.80", "tcp", PORT]
        ]
        assert [each["expires"] <= 60 for each in held] == [True], "not the intruder's hour"

    def test_an_element_of_another_kind_does_not_stop_the_agent(self, scene: Scene) -> None:
        lab = scene.lab
        key = f"{STRANGER} . sctp . {PORT}"
        lab.device.run(["nft", "add", "element", "inet", "isolator", "learned4", f"{{ {key} }}"], check=True)
        restart(scene)
        assert {each["val"]["concat"][1] for each in table(lab, "learned4")} == {"tcp"}
        assert outcome(lab, WILD_ADDRESSES[socket.AF_INET6], WILD) == "echo"
        scene.ask(WILD)
        assert outcome(lab, WILD_ADDRESSES[socket.AF_INET], WILD) == "echo"


class TestJournal:
    """The other half of what is written, and the policy."""

    def changed(self, scene: Scene, change: Callable[[dict[str, Any]], None]) -> None:
        """Kill the agent, change the isolation in its journal, start another."""
        _end_by_sigkill(scene.forge)
        (file,) = scene.forge.agent.state_dir.glob("*.json")
        document = json.loads(file.read_text())
        change(document["isolation"])
        file.write_text(json.dumps(document))
        scene.forge.start()

    @pytest.mark.parametrize("key", [None, "00" * 16, "damaged"])
    def test_without_its_key_nothing_is_believed(self, scene: Scene, address: str, key: str | None) -> None:
        self.changed(scene, lambda isolation: isolation.update(key=key))
        assert outcome_or_refused(scene.lab, address, WILD) == "refused"
        assert outcome(scene.lab, EXACT_ADDRESS, EXACT) == "echo", "the agent asks for it itself"
        scene.ask(WILD, "AAAA" if ":" in address else "A")
        assert outcome(scene.lab, address, WILD) == "echo"
        restart(scene)
        assert outcome(scene.lab, address, WILD) == "echo"

    def test_an_entry_that_has_gone_meanwhile_opens_nothing(self, scene: Scene, address: str) -> None:
        """As when an agent dies between an update's journal and its commit. The numbers move, too."""

        def without_fleet(isolation: dict[str, Any]) -> None:
            entries = isolation["policy"]["entries"]
            entries[:] = [each for each in entries if "fleet" not in json.dumps(each)]

        self.changed(scene, without_fleet)
        for name in (WILD, OTHER_WILD, EXACT):
            assert outcome_or_refused(scene.lab, address, name) == "refused"
        assert not udp_comes_back(scene.lab, WILD_ADDRESSES[socket.AF_INET])
        assert outcome(scene.lab, OTHER_ADDRESS, OTHER_WILD) == "echo"

    def test_a_number_that_means_another_entry_now_opens_nothing_for_it(self, scene: Scene) -> None:
        def exchanged(isolation: dict[str, Any]) -> None:
            entries = isolation["policy"]["entries"]
            one, other = (
                next(each for each in entries if word in json.dumps(each)) for word in ("fleet", "cloud")
            )
            one["n"], other["n"] = other["n"], one["n"]

        self.changed(scene, exchanged)
        assert outcome(scene.lab, OTHER_ADDRESS, OTHER_WILD) == "echo"
        assert outcome(scene.lab, OTHER_ADDRESS, WILD) == "reset"
        for at in WILD_ADDRESSES.values():
            assert outcome(scene.lab, at, WILD) == "echo"
            assert outcome(scene.lab, at, OTHER_WILD) == "reset"


def test_an_update_that_keeps_a_wildcard_keeps_it_over_a_restart(scene: Scene, address: str) -> None:
    """It is in another list now, at another place, and is the same entry."""
    rows = (Row("new.vendor.example", PORT), Row("*.fleet.vendor.example", PORT))
    path = write_list(scene.lab.directory / "new.yaml", rows)
    orders.isolate(scene.forge.agent, path, scope="selective")
    for round_ in range(2):
        if round_:
            restart(scene)
        assert outcome(scene.lab, address, WILD) == "echo"
        assert outcome(scene.lab, address, "new.vendor.example") == "reset"
        assert outcome_or_refused(scene.lab, OTHER_ADDRESS, OTHER_WILD) == "refused"


def test_killed_at_any_moment_while_names_are_learned(scene: Scene) -> None:
    """Whatever has come to be open says for which entry, so nothing is open for a name of another."""
    lab = scene.lab
    names = [f"k{number}.fleet.vendor.example" for number in range(60)]
    lab.resolver.put(*(Host(name, (f"20.92.0.{n + 1}",), ttl=3600) for n, name in enumerate(names)))
    over = threading.Event()

    def ask() -> None:
        reach = lab.reach_from(lab.device, timeout_s=0.2)
        for name in names:
            reach.dns(name)
            time.sleep(0.03)
        over.set()

    asking = threading.Thread(target=ask)
    asking.start()
    kills = 0
    while not over.wait(0.15) and kills < 20:
        restart(scene)
        kills += 1
    asking.join()
    assert kills > 1
    restart(scene)
    elements = table(lab, "learned4")
    assert all(each["comment"] for each in elements)
    learned = [each["val"]["concat"][0] for each in elements if each["val"]["concat"][0].startswith("20.92")]
    assert len(learned) > 5, "positive control"
    for at in learned[:3] + learned[-3:]:
        assert outcome(lab, at, WILD) == "echo"
        assert outcome(lab, at, EXACT) == "reset"
