"""One fault lab: namespaces, servers, resolvers; faults are put in by the functions of the catalogue.

with FaultLab() as lab:
    lab.forward(lab.isp, "ip daddr 20.60.0.11 tcp dport 443 drop")
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.faults import pki, topology, world
from tests.faults.names import Record, Resolver
from tests.faults.sockets import Handler, Stage
from tests.faults.topology import DEVICE, INTERNET, ISP, NAMES, PROXY, SITE
from tests.faults.web import Web
from tests.lab.failure import LabError
from tests.lab.leftovers import own_name, remove_namespaces, sweep
from tests.lab.namespace import Namespace

_serials = itertools.count(1)
UNPRIVILEGED = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs", "--")
"""In front of a command: nobody, without capabilities."""
_CHAINS = {
    "forward": "type filter hook forward priority 0",
    "output": "type filter hook output priority 0",
    "input": "type filter hook input priority 0",
    "dstnat": "type nat hook prerouting priority dstnat",
}
_NOWHERE = ("10.0.0.0/8", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")
"""Private and documentation networks (RFC 1918, RFC 5737)."""
_RESOLVERS = {
    DEVICE: topology.ADDRESSES[NAMES].v4,
    PROXY: topology.PROXY_RESOLVER,
}


class FaultLab:
    """Made on entering, healthy; removed on leaving with all that runs in it.

    What a fault changes: `web.services`, the three resolvers' `lies`, packet rules. What it asks of the
    checkers: `arguments` (of isolator-check), `proxy_url` (of all that can use one).
    """

    def __init__(self) -> None:
        self.name = own_name(next(_serials))
        self.arguments: list[str] = []
        self.environment: dict[str, str] = {}
        self.proxy_url = ""
        self._spaces: dict[str, Namespace] = {}
        self._open = contextlib.ExitStack()
        self._ports = itertools.count(9400)

    def __enter__(self) -> FaultLab:
        sweep()
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every process and remove every trace."""
        self._open.close()

    @property
    def device(self) -> Namespace:
        """The host under test."""
        return self._spaces[DEVICE]

    @property
    def proxy(self) -> Namespace:
        """The host of the proxies, beside the device."""
        return self._spaces[PROXY]

    @property
    def site(self) -> Namespace:
        """The first firewall."""
        return self._spaces[SITE]

    @property
    def isp(self) -> Namespace:
        """The second firewall, one hop further."""
        return self._spaces[ISP]

    @property
    def internet(self) -> Namespace:
        """The servers."""
        return self._spaces[INTERNET]

    @property
    def names(self) -> Namespace:
        """The host of the site's resolvers."""
        return self._spaces[NAMES]

    def rule(self, space: Namespace, chain: str, text: str) -> None:
        """Add a packet rule; chains: forward, output, input, dstnat."""
        script = (
            f"add table inet fault\nadd chain inet fault {chain} {{ {_CHAINS[chain]}; }}\n"
            f"add rule inet fault {chain} {text}\n"
        )
        self.nft(space, script)

    def nft(self, space: Namespace, script: str) -> None:
        """Run an nft script."""
        done = space.run(["nft", "-f", "-"], stdin=script)
        if done.returncode:
            raise LabError("lab.nft_refused", f"set rules in {space.role}", done.stderr.strip())

    def command(self, space: Namespace, *argv: str) -> str:
        """Run a command that must succeed."""
        done = space.run(argv)
        if done.returncode:
            raise LabError("lab.command_failed", " ".join(argv), (done.stderr or done.stdout).strip())
        return done.stdout

    def serve(self, space: Namespace, handler: Handler, port: int = 0) -> int:
        """Listen in a namespace on every address; gives the port."""
        number = port or next(self._ports)
        self.stage.listen(space, number, handler)
        return number

    def divert(self, space: Namespace, match: str, handler: Handler) -> None:
        """Take over the connections that match, on their way through a router."""
        self.rule(space, "dstnat", f"{match} redirect to :{self.serve(space, handler)}")

    def mount_in_device(self, content: str, path: str) -> None:
        """Put a file over a file of the device."""
        source = self.directory / path.strip("/").replace("/", "-")
        source.write_text(content)
        source.chmod(0o644)
        self.command(self.device, "mount", "--bind", str(source), path)

    def write(self, name: str, content: str | bytes) -> Path:
        """A file of the lab that the unprivileged checker can read."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(0o644)
        return path

    def start(self, space: Namespace, argv: Sequence[str], port: int, log: str, **options: Any) -> None:
        """Start a program and wait until it listens on the port; LabError with its log when it never does."""
        path = self.directory / log
        with path.open("wb") as output:
            process = space.popen(argv, stdout=output, stderr=output, stdin=subprocess.DEVNULL, **options)
        deadline = time.monotonic() + 15
        while f":{port} " not in space.run(["ss", "-Hltn"]).stdout:
            if process.poll() is not None or time.monotonic() > deadline:
                raise LabError("lab.no_listener", f"start {argv[0]}", path.read_text()[-1000:])
            time.sleep(0.03)

    def undo(self, action: Callable[[], None]) -> None:
        """Do this when the lab closes, before everything else."""
        self._open.callback(action)

    def trust_company(self) -> None:
        """Put the company's inspection CA into the device's system store (not into the public bundle)."""
        with self.system_store.open("ab") as store:
            store.write(pki.issuer(pki.COMPANY).pem)

    def checker_environment(self) -> Mapping[str, str]:
        """What every checker runs with: the device's system store, nothing of this machine's own settings."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": "/nonexistent",
            "LANG": "C.UTF-8",
            "SSL_CERT_FILE": str(self.system_store),
            "PYTHONDONTWRITEBYTECODE": "1",
            **self.environment,
        }

    def _build(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix=self.name.of("dir") + "_"))
        self._open.callback(shutil.rmtree, self.directory, ignore_errors=True)
        self.directory.chmod(0o755)
        self._wire()
        self.stage = Stage()
        self._open.callback(self.stage.close)
        public = pki.root("Lab Public Root").pem + pki.root("Lab Other Public Root").pem
        self.public_store = self.write("public.pem", public)
        self.system_store = self.write("system.pem", public)
        self._serve()
        self._open_interpreter()

    def _open_interpreter(self) -> None:
        """Let nobody start this Python when it lies in a closed home directory: in the device's view only,
        the closed directory becomes an empty one that holds nothing but the interpreter."""
        prefix = Path(sys.base_prefix).resolve()
        closed = next((each for each in reversed(prefix.parents) if not each.stat().st_mode & 0o001), None)
        if closed is None:
            return
        held = "/run/python"  # the device's own /run, never the lab's directory: that one is deleted
        for command in (
            ("mkdir", held),
            ("mount", "--bind", str(prefix), held),
            ("mount", "-t", "tmpfs", "-o", "mode=755", "lab-home", str(closed)),
            ("mkdir", "-p", str(prefix)),
            ("mount", "--bind", held, str(prefix)),
        ):
            self.command(self.device, *command)

    def _wire(self) -> None:
        names = {role: self.name.of(role) for role in topology.ROLES}
        self._open.callback(remove_namespaces, tuple(names.values()))
        _batch("".join(f"netns add {name}\n" for name in names.values()), "add namespaces")
        for role, name in names.items():
            resolver = self.write(
                f"resolv-{role}.conf", f"nameserver {_RESOLVERS.get(role, topology.PUBLIC_RESOLVER)}\n"
            )
            space = Namespace(name, role, topology.ADDRESSES[role], resolver)
            self._open.callback(space.close)
            self._spaces[role] = space
            space.write_sysctls(topology.sysctls(role))
        _batch(topology.cables(names), "lay cables")
        for role, name in names.items():
            _batch(topology.configuration(role), f"configure {role}", "-n", name)
        for space in self._spaces.values():
            space.wait_for_carrier()

    def _serve(self) -> None:
        # The lab's internet answers on any address; the world's does not on these.
        self.rule(self.isp, "forward", f"ip daddr {{ {', '.join(_NOWHERE)} }} drop")
        truth = {place.host: Record((place.v4,)) for place in world.PLACES}
        truth |= {host: Record((address,)) for host, address in world.OTHERS.items()}
        self.truth = truth
        self.resolver, self.proxy_resolver, self.public_resolver = (Resolver(truth) for _ in range(3))
        for resolver, space, address in (
            (self.resolver, self.names, topology.ADDRESSES[NAMES].v4),
            (self.proxy_resolver, self.names, topology.PROXY_RESOLVER),
            (self.public_resolver, self.internet, topology.PUBLIC_RESOLVER),
        ):
            self.stage.listen(space, 53, resolver.serve_tcp, address)
            self.stage.spawn(resolver.serve_udp(self.stage.datagrams(space, address, 53)))
        self.web = Web(self.directory)
        self.serve(self.internet, self.web.tls, 443)
        self.serve(self.internet, self.web.tls, 8443)
        self.serve(self.internet, self.web.plain, 80)


def _batch(text: str, operation: str, *options: str) -> None:
    done = subprocess.run(
        ["ip", *options, "-batch", "-"], input=text, text=True, capture_output=True, check=False, timeout=30
    )
    if done.returncode != 0:
        raise LabError("lab.ip_refused", operation, done.stderr.strip())
