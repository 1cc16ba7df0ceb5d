"""FlowTable on sock_diag and connection tracking."""

from __future__ import annotations

import errno
from collections.abc import Callable

from isolator.adapters.flow_table import conntrack, sockets
from isolator.adapters.flow_table.conntrack import FlowKey
from isolator.adapters.flow_table.netlink import Conversation
from isolator.adapters.flow_table.own_addresses import LocalAddresses, own_addresses
from isolator.model.failure import FailureCode, IsolatorError
from isolator.model.flow import Packet
from isolator.ports import EndedFlows

_OPERATION = "end flows"
_UNKNOWN = (errno.EOPNOTSUPP, errno.EPROTONOSUPPORT, errno.ENOENT, errno.EINVAL)
"""What a kernel says that was built without the interface."""


class LinuxFlowTable:
    """Flows of the calling thread's network namespace.

    What the kernel cannot do (no tracking, no INET_DIAG_DESTROY) is left out and counted as none:
    the rules stop the packets of such flows in any case. Flows between this host's own addresses
    are left alone.
    """

    def end(self, is_allowed: Callable[[Packet], bool]) -> EndedFlows:
        """End what is forbidden: sockets first (their owners learn of it), then tracked entries.

        A tracked flow is judged with the owner of its socket, so that a rule for one user holds
        for it as well. IsolatorError when the caller lacks CAP_NET_ADMIN.
        """
        try:
            own = own_addresses()
            owners, ended = self._end_sockets(is_allowed, own)
            return EndedFlows(self._end_tracked(is_allowed, own, owners), ended)
        except OSError as error:
            raise _refused(error) from error

    def _end_sockets(
        self, is_allowed: Callable[[Packet], bool], own: LocalAddresses
    ) -> tuple[dict[FlowKey, int | None], int]:
        owners: dict[FlowKey, int | None] = {}
        try:
            with Conversation(sockets.SOCK_DIAG) as talk:
                doomed: list[sockets.LocalSocket] = []
                for each in list(sockets.local_sockets(talk)):
                    packet = each.packet
                    owners[_key(packet)] = packet.uid
                    peer = packet.destination
                    if not (peer in own or is_allowed(packet)):
                        doomed.append(each)
                return owners, sockets.destroy(talk, doomed)
        except OSError as error:
            if error.errno not in _UNKNOWN:
                raise
            return owners, 0

    def _end_tracked(
        self,
        is_allowed: Callable[[Packet], bool],
        own: LocalAddresses,
        owners: dict[FlowKey, int | None],
    ) -> int:
        if not conntrack.is_tracking():
            return 0
        try:
            with Conversation(conntrack.NETFILTER) as talk:
                doomed: list[conntrack.Entry] = []
                for entry in list(conntrack.entries(talk)):
                    packet = conntrack.outgoing_packet(entry, own, owners)
                    if packet is not None and not is_allowed(packet):
                        doomed.append(entry)
                return conntrack.delete(talk, doomed)
        except OSError as error:
            if error.errno not in _UNKNOWN:
                raise
            return 0


def _key(packet: Packet) -> FlowKey:
    return (
        packet.protocol,
        packet.source,
        packet.source_port,
        packet.destination,
        packet.destination_port,
    )


def _refused(error: OSError) -> IsolatorError:
    if error.errno in (errno.EPERM, errno.EACCES):
        sentence = "flows cannot be ended: CAP_NET_ADMIN is needed in this network namespace"
        return IsolatorError(FailureCode.NO_PERMISSION, _OPERATION, sentence)
    sentence = f"the kernel refused to list or end flows: {error.strerror}"
    return IsolatorError(FailureCode.KERNEL_REFUSED, _OPERATION, sentence)
