"""What happens to a packet, and the reason that is counted, logged and shown."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    """The answer the kernel gets for one packet."""

    ACCEPT = "accept"
    DROP = "drop"
    REJECT = "reject"
    QUEUE = "queue"


class Reason(Enum):
    """Why; each value is also the name of a kernel counter or of a gate counter.

    Names are stable once released: `status --json` shows them as keys.
    """

    NOT_ISOLATED = "not_isolated"
    LOOPBACK = "loopback"
    CONTROL_CHANNEL = "control_channel"
    LEARNED_ADDRESS = "learned_address"
    ESTABLISHED_FLOW = "established_flow"
    LISTED_NETWORK = "listed_network"
    EXCLUSION = "exclusion"
    DNS_APPROVED = "dns_approved"
    DHCP_RENEWAL = "dhcp_renewal"
    NEIGHBOUR_DISCOVERY = "neighbour_discovery"
    PATH_MTU = "path_mtu"
    DNS_NAME_ALLOWED = "dns_name_allowed"
    DNS_ANSWER_LEARNED = "dns_answer_learned"
    DNS_ANSWER_EMPTY = "dns_answer_empty"
    NOT_LISTED = "not_listed"
    INBOUND_NOT_LISTED = "inbound_not_listed"
    FORWARDED = "forwarded"
    FRAGMENT = "fragment"
    DNS_UNJUDGED = "dns_unjudged"
    DNS_NAME_NOT_ALLOWED = "dns_name_not_allowed"
    DNS_UNREADABLE = "dns_unreadable"
    DNS_NOT_A_QUERY = "dns_not_a_query"
    DNS_UNASKED_ANSWER = "dns_unasked_answer"
    DNS_TYPE_NOT_ALLOWED = "dns_type_not_allowed"
    DNS_TYPE_WITHHELD = "dns_type_withheld"
    DNS_TOO_MANY_NAMES = "dns_too_many_names"
    DNS_REBINDING = "dns_rebinding"
    DNS_TABLE_FULL = "dns_table_full"
    RESOLVER_NOT_APPROVED = "resolver_not_approved"
    GATE_ERROR = "gate_error"


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with one packet, and the reason that is counted, logged and shown."""

    verdict: Verdict
    reason: Reason
    entry: str | None = None
    """Id of the allow-list entry that matched ("list_id#n"), when one did."""
