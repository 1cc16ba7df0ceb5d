"""FilterBackend on nftables."""

from __future__ import annotations

import json
import platform
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from isolator.adapters.nftables import batch, probes, queue_rule, set_elements
from isolator.adapters.nftables.engine import Engine, NftError, open_engine, refused
from isolator.model.failure import FailureCode, IsolatorError
from isolator.model.ruleset import (
    TABLE,
    AddChain,
    AddressSet,
    DeleteTable,
    Element,
    ObservedTable,
    Transaction,
)
from isolator.ports import Capability
from isolator.render import nft

_ABSENT = "No such file or directory"
_UPDATES_IN_PLACE = (6, 12)
"""First kernel whose `add element` updates the timeout of an element that is there."""


class NftablesBackend:
    """Our table in the network namespace of the thread that makes this object.

    Text goes through libnftables in this process, or through the `nft` program where that is not
    installed. Learned addresses, and the queue rule where the kernel has no `queue` statement, go
    by netlink. All methods may be called from any thread. Learners wait while nft's language is at
    work: nft reads the kernel's tables anew whenever they change below it, and a stream of learned
    addresses would keep it reading for ever.
    """

    name = "nftables"

    def __init__(self, engine: Engine | None = None) -> None:
        """Never raises: what is missing is told by `capabilities` and by the first use."""
        self._engine = engine if engine is not None else open_engine()
        self._engine_lock = threading.Lock()
        self._socket_lock = threading.Lock()
        self._learners_may_go = threading.Event()
        self._learners_may_go.set()
        self._socket = _open_socket()
        self._in_place = _kernel_version() >= _UPDATES_IN_PLACE
        self._native_queue: bool | None = None
        self._target_seen = False

    def capabilities(self) -> tuple[Capability, ...]:
        """What filtering on this host can do; the live ruleset is not touched."""
        engine = self._engine.name if self._engine is not None else None
        with self._socket_lock:
            kernel = probes.kernel(self._socket)
        try:
            native, target = self._queue_ways()
            fib = self._takes(probes.FIB, "probe the expression fib")
        except IsolatorError:  # no permission: the first capability says so
            native = target = fib = False
        return probes.capabilities(engine, kernel, native_queue=native, queue_target=target, fib=fib)

    def check(self, transaction: Transaction) -> None:
        """A dry run in the kernel, the queue rule included."""
        self._run(transaction, check=True)

    def apply(self, transaction: Transaction) -> None:
        """Commit. Without the `queue` statement the queue rules follow in a second commit.

        That is why they live in a chain that no packet meets yet. Should the second commit fail
        although the check passed, a table that is not hooked is removed again; a hooked one is
        left closed, DNS included.
        """
        self._run(transaction, check=False)

    def observe(self) -> ObservedTable | None:
        """Chains, rules, sets and counters; set elements are left out, however many there are."""
        # Listing one table makes nft 1.0 fetch all its elements even if it prints none (0.7 s for
        # 100,000); only for the whole ruleset of a family does it leave them in the kernel.
        listing = self._listing("list ruleset inet", "list the table", terse=True) or {}
        ours = _of_our_table(listing)
        if self._socket is not None and not self._native_queue:
            ours = queue_rule.with_queue_numbers(ours, self._targets)
        return nft.parse_listing(ours)

    def _targets(self, chain: str) -> dict[int, dict[str, Any]]:
        """What the xtables targets in a chain do, by rule handle; nft's JSON has only their name."""
        assert self._socket is not None
        with self._socket_lock:
            try:
                return queue_rule.listed_targets(self._socket.dump(*queue_rule.list_rules(chain)))
            except OSError as error:
                raise batch.refused(error, f"list chain {chain}") from error

    def elements(self, spec: AddressSet) -> tuple[Element, ...]:
        """Elements of the set; none when there is no such set. Neighbouring networks may be merged.

        For diagnosis: learners wait meanwhile, some 35 microseconds an element.
        """
        operation = f"list set {spec.name}"
        listing = self._listing(f"list set inet {TABLE} {spec.name}", operation, terse=False)
        try:
            return set_elements.listed_elements(spec, listing or {})
        except (KeyError, TypeError, ValueError) as error:
            sentence = f"set {spec.name} lists an element that is not ours: {error}"
            raise IsolatorError(FailureCode.NOT_AS_WANTED, operation, sentence) from error

    def learn(self, additions: Sequence[tuple[AddressSet, Element]]) -> None:
        """One commit by netlink; by text when that is not possible. Nothing given, nothing done."""
        if not additions:
            return
        operation = "add learned addresses"
        requests = set_elements.learn_messages(additions, in_place=self._in_place)
        if requests is not None and self._socket is not None:
            request = batch.batch(requests)
            if len(request) <= batch.LONGEST:
                self._learners_may_go.wait()
                with self._socket_lock:
                    _send(self._socket, request, operation)
                return
        self._text(set_elements.learn_text(additions, in_place=self._in_place), operation)

    def close(self) -> None:
        """Give back sockets and the library's context; the ruleset stays. Safe to call twice."""
        with self._turn():
            if self._engine is not None:
                self._engine.close()
            if self._socket is not None:
                self._socket.close()

    def _run(self, transaction: Transaction, *, check: bool) -> None:
        operation = f"{'check' if check else 'apply'} {transaction.purpose}"
        rules = nft.queue_rules(transaction)
        native = True
        if rules:
            native, target = self._queue_ways()
            if not native and not target:
                sentence = "this kernel can feed no queue: it lacks both nft_queue and the target NFQUEUE"
                raise IsolatorError(FailureCode.NO_QUEUE, operation, sentence)
        self._text(nft.render_transaction(transaction, native_queue=native), operation, check=check)
        if rules and not native and not check:
            self._add_queue_rules(transaction, rules, operation)

    def _add_queue_rules(
        self, transaction: Transaction, rules: tuple[tuple[str, int], ...], operation: str
    ) -> None:
        assert self._socket is not None  # the probe of the target went through it
        try:
            with self._socket_lock:
                _send(self._socket, queue_rule.add_queue_rules(rules), operation)
        except IsolatorError:
            if not _hooks(transaction) and DeleteTable() in transaction.operations:
                self._text(f"add table inet {TABLE}\ndelete table inet {TABLE}\n", operation)
            raise

    def _queue_ways(self) -> tuple[bool, bool]:
        """(has the `queue` statement, can use the xtables target); what a kernel can do is asked for once."""
        if self._native_queue is None:
            self._native_queue = self._takes(queue_rule.NATIVE_PROBE, "probe the queue statement")
        if not self._target_seen:
            with self._socket_lock:
                self._target_seen = self._socket is not None and probes.passes(
                    self._socket, queue_rule.probe_target()
                )
        return self._native_queue, self._target_seen

    def _takes(self, probe: str, operation: str) -> bool:
        """Would nft and the kernel take this text? Without permission nobody can say: IsolatorError."""
        try:
            self._text(probe, operation, check=True)
        except IsolatorError as error:
            if error.code is FailureCode.NO_PERMISSION:
                raise
            return False
        return True

    def _text(self, text: str, operation: str, *, check: bool = False) -> None:
        engine = self._usable(operation)
        with self._turn():
            try:
                engine.run(text, check=check)
            except NftError as refusal:
                raise refused(refusal, operation) from refusal

    def _listing(self, command: str, operation: str, *, terse: bool) -> dict[str, Any] | None:
        engine = self._usable(operation)
        with self._turn():
            try:
                text = engine.listing(command, terse=terse)
            except NftError as refusal:
                if _ABSENT in str(refusal):
                    return None
                raise refused(refusal, operation) from refusal
        try:
            listing: dict[str, Any] = json.loads(text)
        except ValueError as error:
            sentence = f"nft's answer to {operation} is no JSON: {error}"
            raise IsolatorError(FailureCode.NO_NFTABLES, operation, sentence) from error
        return listing

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Alone with the kernel, as far as this process goes; ahead of any learner that comes now."""
        with self._engine_lock:
            self._learners_may_go.clear()
            try:
                with self._socket_lock:
                    yield
            finally:
                self._learners_may_go.set()

    def _usable(self, operation: str) -> Engine:
        if self._engine is None:
            sentence = "neither libnftables.so.1 nor the program nft is here: install the package nftables"
            raise IsolatorError(FailureCode.NO_NFTABLES, operation, sentence)
        return self._engine


def _of_our_table(listing: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a listing of family inet that is about our table, and the table itself."""
    items = [
        {kind: body}
        for item in listing.get("nftables", ())
        for kind, body in item.items()
        if body.get("name" if kind == "table" else "table") == TABLE
    ]
    return {"nftables": items}


def _hooks(transaction: Transaction) -> bool:
    return any(isinstance(each, AddChain) and each.chain.hook for each in transaction.operations)


def _open_socket() -> batch.NetfilterSocket | None:
    try:
        return batch.NetfilterSocket()
    except OSError:
        return None


def _send(netlink: batch.NetfilterSocket, request: bytes, operation: str) -> None:
    try:
        netlink.send(request)
    except OSError as error:
        raise batch.refused(error, operation) from error


def _kernel_version() -> tuple[int, int]:
    """(6, 12) of "6.12.48+deb13-amd64"; (0, 0) when the release does not start like that."""
    major, _, rest = platform.release().partition(".")
    minor = rest.partition(".")[0].partition("-")[0]
    return (int(major), int(minor)) if major.isdecimal() and minor.isdecimal() else (0, 0)
