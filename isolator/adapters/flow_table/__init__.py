"""Connections that exist on this host."""

from isolator.adapters.flow_table.table import LinuxFlowTable

__all__ = ["LinuxFlowTable"]
