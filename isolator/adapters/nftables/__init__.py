"""The packet filter of the Linux kernel."""

from isolator.adapters.nftables.backend import NftablesBackend

__all__ = ["NftablesBackend"]
