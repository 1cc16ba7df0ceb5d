"""libnftables called as directly as Python can: the peer that our backend is measured against.

(The package `nftables` does the same in its `cmd`; it is GPL-2, so it is not imported here.)
"""

from __future__ import annotations

import ctypes


class BareLibrary:
    """One context, in the network namespace of the thread that makes it."""

    def __init__(self) -> None:
        """OSError when the library is not installed."""
        library = ctypes.CDLL("libnftables.so.1")
        library.nft_ctx_new.restype = ctypes.c_void_p
        library.nft_ctx_new.argtypes = [ctypes.c_uint32]
        library.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
        for name in ("nft_ctx_buffer_error", "nft_ctx_get_error_buffer", "nft_ctx_free"):
            getattr(library, name).argtypes = [ctypes.c_void_p]
        library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        self._library = library
        self._context = library.nft_ctx_new(0)
        library.nft_ctx_buffer_error(self._context)

    def run(self, text: str) -> None:
        """Commit the text; RuntimeError with nft's words when it is refused."""
        self.run_bytes(text.encode())

    def run_bytes(self, text: bytes) -> None:
        """The same for text that is bytes already."""
        if self._library.nft_run_cmd_from_buffer(self._context, text) != 0:
            said = self._library.nft_ctx_get_error_buffer(self._context) or b""
            raise RuntimeError(said.decode(errors="replace").strip() or "nft refused the text")

    def close(self) -> None:
        """Free the context."""
        if self._context is not None:
            self._library.nft_ctx_free(self._context)
            self._context = None
