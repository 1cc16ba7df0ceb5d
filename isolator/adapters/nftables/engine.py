"""The two things that understand nft's command language: the library in this process, or the program."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from typing import Protocol

from isolator.model.failure import FailureCode, IsolatorError

_LIBRARY = "libnftables.so.1"
_JSON = 1 << 4
_TERSE = 1 << 11
"""Output flags of libnftables(3)."""

_PROGRAM_PATIENCE_S = 60.0
"""The program loads 100,000 elements in well under a second; only a hung machine takes this long."""

_ERROR = re.compile(r"Error: (.+)")


class NftError(Exception):
    """nft refused a text; the message is the first line of its own error."""


class Engine(Protocol):
    """Runs nft command text; NftError when nft or the kernel says no."""

    name: str

    def run(self, text: str, *, check: bool = False) -> None:
        """Commit the text as one transaction; with `check` the kernel judges and aborts it."""
        ...

    def listing(self, text: str, *, terse: bool = False) -> str:
        """JSON output of a list command; `terse` leaves set elements out."""
        ...

    def close(self) -> None:
        """Give back what the engine holds; it is not used afterwards."""
        ...


class Library:
    """libnftables by ctypes, one context. Not safe for two threads at once: the backend locks.

    The context's socket belongs to the network namespace of the thread that made it. Bound here
    rather than through a package of the same name because that one lacks the dry run and is GPL.
    """

    name = "libnftables"

    def __init__(self) -> None:
        """OSError when the library is not installed."""
        library = ctypes.CDLL(_LIBRARY)
        library.nft_ctx_new.restype = ctypes.c_void_p
        library.nft_ctx_new.argtypes = [ctypes.c_uint32]
        for name in ("nft_ctx_buffer_output", "nft_ctx_buffer_error", "nft_ctx_free"):
            getattr(library, name).argtypes = [ctypes.c_void_p]
        for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
            getattr(library, name).argtypes = [ctypes.c_void_p]
            getattr(library, name).restype = ctypes.c_char_p
        library.nft_ctx_set_dry_run.argtypes = [ctypes.c_void_p, ctypes.c_bool]
        library.nft_ctx_output_set_flags.argtypes = [ctypes.c_void_p, ctypes.c_uint]
        library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        self._library = library
        self._context: int | None = library.nft_ctx_new(0)
        if self._context is None:
            raise OSError("libnftables gave no context")
        library.nft_ctx_buffer_output(self._context)
        library.nft_ctx_buffer_error(self._context)

    def run(self, text: str, *, check: bool = False) -> None:
        """Commit (or only judge) the text; NftError with nft's words."""
        self._library.nft_ctx_set_dry_run(self._context, check)
        self._command(text, 0)

    def listing(self, text: str, *, terse: bool = False) -> str:
        """JSON of a list command."""
        self._library.nft_ctx_set_dry_run(self._context, False)
        return self._command(text, _JSON | (_TERSE if terse else 0))

    def close(self) -> None:
        """Free the context and its socket; safe to call twice."""
        if self._context is not None:
            self._library.nft_ctx_free(self._context)
            self._context = None

    def _command(self, text: str, flags: int) -> str:
        if self._context is None:
            raise NftError("the library was closed")
        self._library.nft_ctx_output_set_flags(self._context, flags)
        code = self._library.nft_run_cmd_from_buffer(self._context, text.encode())
        output: bytes = self._library.nft_ctx_get_output_buffer(self._context) or b""
        # Read also after a success: reading is what empties the buffer for the next command.
        error: bytes = self._library.nft_ctx_get_error_buffer(self._context) or b""
        if code != 0:
            raise NftError(first_error(error.decode(errors="replace")))
        return output.decode(errors="replace")


class Program:
    """The `nft` program fed on stdin: the same text, some 20 ms for each start."""

    name = "nft"

    def __init__(self) -> None:
        """OSError when the program is not installed."""
        found = shutil.which("nft", path="/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin")
        if found is None:
            raise OSError("no program nft")
        self._program = found

    def run(self, text: str, *, check: bool = False) -> None:
        """Commit (or only judge) the text; NftError with nft's words."""
        self._start([*(["-c"] if check else []), "-f", "-"], text)

    def listing(self, text: str, *, terse: bool = False) -> str:
        """JSON of a list command, given as arguments: from stdin, nft 1.0.6 lists nothing."""
        return self._start([*(["-j", "-t"] if terse else ["-j"]), *text.split()], "")

    def close(self) -> None:
        """Nothing is held between two runs."""

    def _start(self, arguments: list[str], text: str) -> str:
        try:
            ended = subprocess.run(
                [self._program, *arguments],
                input=text,
                capture_output=True,
                text=True,
                timeout=_PROGRAM_PATIENCE_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NftError(f"the program nft did not run: {error}") from error
        if ended.returncode != 0:
            raise NftError(first_error(ended.stderr))
        return ended.stdout


def open_engine() -> Engine | None:
    """The library, else the program, else None."""
    for make in (Library, Program):
        try:
            return make()
        except OSError:
            continue
    return None


def first_error(text: str) -> str:
    """The first error in nft's output without its position; what there is when there is none."""
    found = _ERROR.search(text)
    line = found.group(1) if found else next(iter(text.splitlines()), "no reason given")
    return line.strip()


def refused(refusal: NftError, operation: str) -> IsolatorError:
    """The refusal as an IsolatorError: code by nft's words, which are those of strerror(3)."""
    words = str(refusal)
    if "Operation not permitted" in words or "Permission denied" in words:
        code, hint = FailureCode.NO_PERMISSION, "; CAP_NET_ADMIN is needed in this network namespace"
    elif "not supported" in words or "Unable to initialize" in words:
        code, hint = FailureCode.NO_NFTABLES, "; this kernel lacks a part of nftables that is needed"
    else:
        code, hint = FailureCode.KERNEL_REFUSED, ""
    return IsolatorError(code, operation, f"the kernel refused to {operation}: {words}{hint}")
