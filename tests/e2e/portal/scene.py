"""A controller with people and machines in every state, served over TLS on loopback for a browser."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import trustme
import uvicorn

from api.app import create_app
from api.core.roles import Role
from api.services import clients, exclusions, groups, isolation, preflights, users
from api.settings import Settings
from api.store import schema
from api.store.database import Database
from api.store.tables import Action, Machine, User
from tests.contract.api.agents_world import World, make_world
from tests.fleet.agent import Agent

PASSWORD = "correct horse battery staple"

GOLDEN = Path(__file__).resolve().parents[2] / "golden/preflight/company.json"

LISTS = [{"id": "streamlined", "version": "2026-06", "entries": 74}]

LEARNED = [
    {
        "name": "edr.example",
        "address": "198.51.100.7",
        "port": 443,
        "entry": "*.edr.example",
        "expires_in_s": 280,
    },
    {
        "name": "cdn.example",
        "address": "2001:db8::7",
        "port": 443,
        "entry": "cdn.example",
        "expires_in_s": 55,
    },
]


@dataclass
class Scene:
    """The controller, its machines by name, and its address while it is served."""

    world: World
    agents: dict[str, Agent] = field(default_factory=dict)
    url: str = ""

    def person(self, name: str, role: Role, group_ids: list[int] | None = None, **changes: Any) -> User:
        """An account whose password is `PASSWORD`, past its first sign-in."""
        services = self.world.services
        made = users.create(services, self.world.admin, name, role, group_ids)
        users.change_password(services, made.user, made.password, PASSWORD, "127.0.0.1")
        with services.database.write() as session:
            user = session.get_one(User, made.user.id)
            for key, value in changes.items():
                setattr(user, key, value)
        return user

    def machine(
        self, name: str, *, group: int | None = None, tags: tuple[str, ...] = (), **facts: Any
    ) -> Agent:
        """An enrolled machine that has checked in once."""
        agent = self.world.agent(name, facts={"os_platform": "Linux", "agent_version": "0.1", **facts})
        self.agents[name] = agent
        if group is not None:
            groups.place_machine(self.world.services, self.world.admin, agent.machine_id, group)
        if tags:
            groups.set_tags(self.world.services, self.world.admin, agent.machine_id, tags)
        self.report(agent)
        return agent

    def report(self, agent: Agent, **changes: Any) -> None:
        """A check-in with full evidence."""
        isolated = agent.state == "isolated"
        evidence: dict[str, Any] = {
            "probe": {"control_channel": {"ok": True}, "outside": {"ok": not isolated}},
            "enforcement": {
                "backend": "nftables",
                "layers": ["inet input", "inet output", "inet forward", "dns gate"] if isolated else [],
            },
            "repairs": 0,
        }
        if isolated:
            evidence |= {
                "lists": LISTS,
                "learned": LEARNED,
                "ruleset_sha256": "5f1c" * 16,
                "since": self.world.clock.now().isoformat(),
                "expires_at": (self.world.clock.now() + timedelta(days=7)).isoformat(),
                "counters": {"dropped_total": 4127},
            }
        self.world.take(agent.check_in(observed=agent.report(**{**evidence, **changes})))

    def isolate(self, agent: Agent, comment: str, **options: Any) -> Action:
        """Order isolation, as an operator would."""
        return isolation.place(
            self.world.services,
            self.world.admin,
            isolation.OrderRequest(agent.machine_id, comment, request_source="Portal", **options),
        )

    def obey(self, agent: Agent) -> None:
        """Fetch the order, obey it, and prove it."""
        self.world.deliver(agent)
        self.report(agent)

    def change(self, agent: Agent, **values: Any) -> None:
        """Turn something about a machine's row that time or an attacker would."""
        with self.world.services.database.write() as session:
            machine = session.get_one(Machine, agent.machine_id)
            for key, value in values.items():
                setattr(machine, key, value)


def build(directory: Path, settings: Settings | None = None) -> Scene:
    """An empty controller on its own SQLite file."""
    database = Database(f"sqlite:///{directory / 'controller.db'}")
    schema.upgrade(database)
    return Scene(make_world(database, directory, settings))


def furnish(scene: Scene) -> None:
    """People of each role, and a dozen machines in the states a fleet has on a bad day."""
    world = scene.world
    services, admin = world.services, world.admin
    for role in Role:
        scene.person(role.value, role)
    servers = groups.create_group(services, admin, "Servers").id
    office = groups.create_group(services, admin, "Office").id
    exclusions.create_exclusion(
        services,
        admin,
        "Backup server",
        {"direction": "out", "remote": "192.0.2.40", "port": 8443, "protocol": "tcp"},
    )
    exclusions.create_exclusion(
        services,
        admin,
        "Jump host",
        {"direction": "in", "remote": "192.0.2.0/28", "port": 22, "protocol": "tcp"},
    )
    clients.create(services, admin, "SOAR playbooks", Role.OPERATOR)
    clients.create(services, admin, "Inventory", Role.READER, [servers])
    world.token(uses=25, group_id=office)
    preflights.take_report(services, admin, json.loads(GOLDEN.read_text("utf-8")), "branch-osaka-01")
    for number in range(1, 6):
        scene.machine(f"office-pc-{number:02}", group=office, os_platform="Windows11", version="24H2")
    for name in ("web-01", "web-02", "db-01"):
        scene.machine(name, group=servers, tags=("production",), os_platform="Ubuntu", version="24.04")
    scene.machine("dc-01", group=servers, tags=("never-isolate",), os_platform="WindowsServer2025")
    laptop = scene.machine("laptop-sato", os_platform="Debian", version="12")
    scene.isolate(laptop, "INC-2031: beacon to a known command server")
    scene.obey(laptop)
    web = scene.agents["web-02"]
    scene.isolate(web, "INC-2032: web shell found; backups must go on", scope="selective")
    scene.obey(web)
    scene.isolate(scene.agents["office-pc-04"], "INC-2033: opened the attachment")
    silent = world.clock.now() - timedelta(hours=5)
    scene.change(scene.agents["office-pc-04"], last_seen=silent, observed_at=silent)
    scene.change(scene.agents["office-pc-05"], duplicate_since=world.clock.now() - timedelta(minutes=9))


@contextmanager
def serving(scene: Scene, directory: Path, listener: socket.socket | None = None) -> Iterator[Scene]:
    """Serve the portal over TLS on 127.0.0.1 (a free port, or the listener's) until the block ends."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    chain, key = directory / "chain.pem", directory / "key.pem"
    chain.write_bytes(b"".join(each.bytes() for each in certificate.cert_chain_pems))
    certificate.private_key_pem.write_to_path(key)
    app = create_app(scene.world.services)
    listener = listener or socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app,
        ssl_certfile=chain,
        ssl_keyfile=key,
        log_config=None,
        lifespan="on",
        server_header=False,
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    scene.url = f"https://127.0.0.1:{listener.getsockname()[1]}"
    try:
        _await_start(server)
        yield scene
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()


def _await_start(server: uvicorn.Server) -> None:
    end = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < end, "the server does not come up"
        time.sleep(0.02)
