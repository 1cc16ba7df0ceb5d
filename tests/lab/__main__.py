"""``python -m tests.lab``: build a lab, show what the device reaches; ``--shell`` to work in the device."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from collections.abc import Iterator

from tests.lab import ground, world
from tests.lab.failure import LabError
from tests.lab.lab import Lab
from tests.lab.reach import Result


def look_around(lab: Lab) -> Iterator[tuple[str, Result]]:
    """One line for every kind of place there is, IPv4 and IPv6."""
    reach = lab.reach
    for family, label in ((socket.AF_INET, "v4"), (socket.AF_INET6, "v6")):
        qtype = "A" if family == socket.AF_INET else "AAAA"
        neighbour = getattr(lab.neighbour.addresses, label)
        outside = getattr(world.UNLISTED_ADDRESS, label)
        for name in (world.EXACT, world.WILDCARD, world.CHAINED, world.UNLISTED):
            yield f"dns {label} {name}", reach.dns(name, qtype)
            yield f"tls {label} {name}", reach.tls(name, family=family)
        yield f"tcp {label} neighbour", reach.tcp(neighbour, family=family)
        yield f"tcp {label} {outside}", reach.tcp(outside, family=family)
        yield f"udp {label} {outside}", reach.udp(outside, family=family)


def main(arguments: list[str]) -> int:
    """Exit 0 when everything was reached, 1 when not, 4 when no lab is possible here."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.lab",
        description=__doc__,
        epilog="as a plain user: python -m tests.lab.ground COMMAND",
    )
    parser.add_argument(
        "--shell", action="store_true", help="start $SHELL in the device, the lab ends with it"
    )
    options = parser.parse_args(arguments)
    try:
        with Lab() as lab:
            results = list(look_around(lab))
            for what, result in results:
                print(
                    f"{'ok  ' if result.ok else 'FAIL'} {what:<55} {result.took_ms:7.1f} ms  {result.detail}"
                )
            if options.shell:
                print("namespaces:", *(lab.name.of(role) for role in lab.topology.roles))
                lab.device.popen([os.environ.get("SHELL", "/bin/sh")]).wait()
            return 0 if all(result.ok for _, result in results) else 1
    except LabError as error:
        sys.stderr.write(f"{error}\n")
        return 4 if ground.probe().code is not None else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
