#!/usr/bin/env python3
"""An HTTP proxy that knows one method, CONNECT, and one place to go: the controller.

For clients that have Microsoft's host names built in (docs/controller-clients.md). It copies bytes and opens
no TLS; which names it takes is a fixed list, so it is nobody's way to anywhere else. Standard library only:

    python3 tools/connect_forwarder.py --listen 127.0.0.1:3128 --to controller.example:8443
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys

NAMES = frozenset(
    {
        "login.microsoftonline.com",
        "login.windows.net",
        "api.security.microsoft.com",
        "eu.api.security.microsoft.com",
        "uk.api.security.microsoft.com",
        "us.api.security.microsoft.com",
        "api.securitycenter.microsoft.com",
        "api-eu.securitycenter.microsoft.com",
        "api-uk.securitycenter.microsoft.com",
        "api-us.securitycenter.microsoft.com",
        "api.securitycenter.windows.com",
    }
)
"""The hosts that clients of the machine-action API ask for tokens and actions."""

HEAD_BYTES = 16 * 1024
HEAD_WAIT_S = 10.0
CONNECT_WAIT_S = 10.0

Address = tuple[str, int]


class Forwarder:
    """Takes CONNECT for the names and joins the caller with the controller."""

    def __init__(self, to: Address, names: frozenset[str] = NAMES) -> None:
        self._to = to
        self._names = names
        self.asked: list[str] = []
        """Every target that was asked for, in order; for a look at what a client really does."""

    async def serve(self, listen: Address) -> asyncio.Server:
        """Start listening; the caller closes the server."""
        return await asyncio.start_server(self._talk, *listen, limit=HEAD_BYTES)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._join(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            pass  # a caller or the controller went away; there is nobody to tell
        finally:
            await _close(writer)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), HEAD_WAIT_S)
        method, target = (*head.split(b"\r\n", 1)[0].decode("latin-1").split(" "), "")[:2]
        self.asked.append(target)
        if method != "CONNECT" or not self._is_known(target):
            await _say(writer, "403 Forbidden")
            return
        try:
            connecting = asyncio.open_connection(*self._to)
            far_reader, far_writer = await asyncio.wait_for(connecting, CONNECT_WAIT_S)
        except (OSError, TimeoutError):
            await _say(writer, "502 Bad Gateway")
            return
        try:
            await _say(writer, "200 Connection established")
            await _both(_copy(reader, far_writer), _copy(far_reader, writer))
        finally:
            await _close(far_writer)

    def _is_known(self, target: str) -> bool:
        name, _, port = target.rpartition(":")
        return port == "443" and name.lower() in self._names


async def _both(*ways: object) -> None:
    """Copy both ways; when one breaks the other ends too."""
    tasks = [asyncio.ensure_future(way) for way in ways]  # type: ignore[arg-type]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while portion := await reader.read(64 * 1024):
        writer.write(portion)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def _say(writer: asyncio.StreamWriter, status: str) -> None:
    writer.write(f"HTTP/1.1 {status}\r\n\r\n".encode())
    await writer.drain()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise argparse.ArgumentTypeError(f"{text!a} is no HOST:PORT")
    return host.strip("[]"), int(port)


async def _run(listen: Address, to: Address, names: frozenset[str]) -> None:
    async with await Forwarder(to, names).serve(listen) as server:
        print(
            f"CONNECT for {len(names)} names at {listen[0]}:{listen[1]} goes to {to[0]}:{to[1]}", flush=True
        )
        await server.serve_forever()


def main() -> int:
    """Run until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--listen", type=_address, default=("127.0.0.1", 3128), help="HOST:PORT, loopback if absent"
    )
    parser.add_argument("--to", type=_address, required=True, help="HOST:PORT of the controller")
    parser.add_argument("--name", action="append", default=[], help="a further host name to take")
    args = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_run(args.listen, args.to, NAMES | {each.lower() for each in args.name}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
