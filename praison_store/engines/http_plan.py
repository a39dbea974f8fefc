"""The operations on a session service, written once: each a generator of requests, driven with or without `await`."""

from __future__ import annotations

import logging
import random
import secrets
import time
from collections.abc import Sequence
from typing import Literal
from urllib.parse import urlencode

from ..errors import InvalidArgumentError, LockTimeoutError, OutcomeUnknownError, SessionStoreError
from ..model.filters import Filter, to_query
from ..model.lease import Lease, lost
from ..model.message import Record
from ..model.selection import OrderBy, names_of, page_of, selected
from ..model.session import SessionData, SessionInfo
from ..model.session_id import SessionKey
from ..retention import Policy
from . import http_document as document
from .contract import Change
from .http_document import Stored
from .http_wire import (
    MOST_QUERY_BYTES,
    NOT_OFFERED,
    RETRIED,
    Answer,
    Call,
    Endpoint,
    Failure,
    Pause,
    Plan,
    Reply,
    batches,
    fail_read,
    fail_write,
    is_refusal,
    may_follow,
    not_offered,
    pause,
    under,
)
from .refusals import check_revision

logger = logging.getLogger("praison_store")
_BUSY_PAUSE_S, _LONGEST_BUSY_PAUSE_S = 0.004, 0.25
_LEASE = "lease"


class HttpPlan:
    """
    What to ask a service for, and what its answers mean.

    Args:
        retries: how often a request is sent again where that is safe.
        busy_timeout_s: how long a write goes on while others come first each time.
    Promise: a PUT names the version it changes, so that no write erases another's. Where its answer gets lost the
    session is read again, and the list of its newest writes tells whether this one is in place.
    """

    def __init__(self, endpoint: Endpoint, retries: int, busy_timeout_s: float) -> None:
        self.endpoint, self.retries, self.busy_timeout_s = endpoint, retries, busy_timeout_s

    # ---- one session -----------------------------------------------------------------------------------------

    def read(self, key: SessionKey, newest: int | None) -> Plan[SessionData | None]:
        """Plan `Engine.read`."""
        stored = yield from self._fetched(key)
        if stored is None:
            return None
        return stored.session.newest(newest) if newest else stored.session

    def history(self, key: SessionKey, newest: int | None) -> Plan[list[Record]]:
        """Plan `Engine.history`."""
        session = yield from self.read(key, newest)
        return [] if session is None else [message.to_llm_message() for message in session.messages]

    def whole(self, key: SessionKey) -> Plan[tuple[SessionData, list[Record]] | None]:
        """Plan `Engine.whole`."""
        stored = yield from self._fetched(key)
        return None if stored is None else (stored.session, stored.archived)

    def append(
        self, key: SessionKey, messages: Sequence[Record], *, now_s: float, policy: Policy, lease: Lease | None = None,
        least_revision: int = 0,
    ) -> Plan[int]:
        """Plan `Engine.append`: read, put the messages behind the others, write; again where another came first."""
        begun, turns = time.monotonic(), 0
        while True:
            stored = (yield from self._fetched(key, lease)) or document.unwritten(key, now_s)
            check_revision(key, stored.revision, least=least_revision)
            new = document.fresh(stored, messages)
            if messages and not new:
                return stored.revision
            written = yield from self._write(
                key, stored, document.adding(new), now_s=now_s, policy=policy, keep_archive=True, lease=lease
            )
            if written is not None:
                return written.revision
            turns += 1
            yield from self._another_turn(key, begun, turns)

    def update(
        self, key: SessionKey, change: Change, *, now_s: float, policy: Policy, expected_revision: int | None = None,
        keep_archive: bool = True, lease: Lease | None = None,
    ) -> Plan[SessionData]:
        """Plan `Engine.update`; `change` is made anew where another's write came first."""
        begun, turns = time.monotonic(), 0
        while True:
            stored = (yield from self._fetched(key, lease)) or document.unwritten(key, now_s)
            check_revision(key, stored.revision, expected=expected_revision)
            written = yield from self._write(
                key, stored, change, now_s=now_s, policy=policy, keep_archive=keep_archive, lease=lease
            )
            if written is not None:
                return written
            turns += 1
            yield from self._another_turn(key, begun, turns)

    def delete(
        self, key: SessionKey, *, lease: Lease | None = None, expected_revision: int | None = None
    ) -> Plan[bool]:
        """
        Plan `Engine.delete`.

        The version that was seen is deleted, not whatever is there: a repeat of a request whose answer got lost must
        not take away what another writer put there since.
        """
        target, begun, turns = self.endpoint.target(key), time.monotonic(), 0
        unsure, created_at = False, ""
        while True:
            stored = yield from self._fetched(key, lease)
            if stored is None or stored.etag is None:
                return unsure
            if unsure and stored.session.created_at != created_at:
                return True  # the one that was seen is gone; this one was begun since
            created_at = stored.session.created_at
            if not unsure:
                check_revision(key, stored.revision, expected=expected_revision)
            reply, followed = yield from self._sent(
                Call("DELETE", target, headers={"If-Match": stored.etag, **under(lease)})
            )
            if not isinstance(reply, Answer) or reply.status in RETRIED:
                fail_write(self.endpoint.shown(target), reply, unknown=followed)
            if reply.is_success:
                return True
            unsure = unsure or followed
            if reply.status == 423 and lease is not None:
                raise lost(lease)
            if reply.status not in (404, 412):
                fail_write(self.endpoint.shown(target), reply, unknown=followed)
            turns += 1
            yield from self._another_turn(key, begun, turns)

    # ---- many sessions ---------------------------------------------------------------------------------------

    def find(
        self, *, filters: Filter | None = None, order_by: OrderBy = None, limit: int | None = None, offset: int = 0,
        namespace: str | None = "",
    ) -> Plan[list[SessionInfo]]:
        """Plan `Engine.find`; a service that answers in pages is asked until all are there."""
        limit, offset = page_of(limit, offset)
        if filters is not None and len(to_query(filters)) > MOST_QUERY_BYTES:
            every = yield from self.find(namespace=namespace)
            return list(selected(((info.record(), info) for info in every), filters, order_by, limit, offset))
        query: list[tuple[str, str]] = []
        for name, descends in names_of(order_by):
            query.append(("order_by", f"-{name}" if descends else name))
        found: dict[tuple[str, str], SessionInfo] = {}
        taken = 0
        while limit is None or taken < limit:
            asked = [*query, ("offset", str(offset + taken))]
            if limit is not None:
                asked.append(("limit", str(limit - taken)))
            infos, total = yield from self._listed(asked, filters, namespace, "find")
            taken += len(infos)
            for info in infos:
                # One that is written while pages are read may come on two of them.
                found.setdefault((info.namespace, info.session_id), info)
            if not infos or offset + taken >= total:
                break
        return list(found.values())

    def count(self, filters: Filter | None = None, *, namespace: str | None = "") -> Plan[int]:
        """Plan `Engine.count`."""
        if filters is not None and len(to_query(filters)) > MOST_QUERY_BYTES:
            return len((yield from self.find(filters=filters, namespace=namespace)))
        _, total = yield from self._listed([("limit", "0")], filters, namespace, "count")
        return total

    def search(
        self, terms: Sequence[str], *, namespace: str | None = ""
    ) -> Plan[list[tuple[SessionData, list[Record]]]]:
        """Plan `Engine.search`: a listing, several for many terms, then one request for each session in it."""
        found: list[tuple[SessionData, list[Record]]] = []
        infos: list[SessionInfo] = []
        for some in batches(terms):
            taken = 0
            while True:
                asked = [("search", term) for term in some] + [("offset", str(taken))]
                page, total = yield from self._listed(asked, None, namespace, "search")
                infos += page
                taken += len(page)
                if not page or taken >= total:
                    break
        for key in dict.fromkeys(SessionKey(info.session_id, info.namespace) for info in infos):
            try:
                whole = yield from self.whole(key)
            except SessionStoreError as error:
                logger.warning("%r was left out: %s", key.session_id, error)  # one hides no other (D5)
                continue
            if whole is not None:
                found.append(whole)
        return found

    # ---- leases: the service decides, by its own clock, in one request each -----------------------------------

    def claim(self, key: SessionKey, owner: str, ttl_s: float) -> Plan[Lease | None]:
        """Plan `Engine.claim`."""
        target = self.endpoint.target(key, _LEASE)
        reply, followed = yield from self._sent(
            Call("PUT", target, document.json_bytes({"owner": owner, "ttl_s": ttl_s}))
        )
        answer = self._lease_answer(target, reply, followed)
        if answer.status == 423:
            return None
        if not answer.is_success:
            fail_write(self.endpoint.shown(target), answer, unknown=followed)
        return document.lease_of(answer, key, self.endpoint.shown(target))

    def renew(self, lease: Lease, ttl_s: float) -> Plan[Lease]:
        """Plan `Engine.renew`."""
        target = self.endpoint.target(lease.key, _LEASE)
        body = {"owner": lease.owner, "generation": lease.generation, "ttl_s": ttl_s}
        reply, followed = yield from self._sent(Call("PUT", target, document.json_bytes(body)))
        answer = self._lease_answer(target, reply, followed)
        if answer.status == 409:
            raise lost(lease)
        if not answer.is_success:
            fail_write(self.endpoint.shown(target), answer, unknown=followed)
        return document.lease_of(answer, lease.key, self.endpoint.shown(target))

    def release(self, lease: Lease) -> Plan[bool]:
        """Plan `Engine.release`; where the answer got lost, a lease of ours that nobody holds was given back."""
        target = self.endpoint.target(lease.key, _LEASE)
        mark = "&" if "?" in target else "?"
        held = urlencode({"owner": lease.owner, "generation": lease.generation})
        reply, followed = yield from self._sent(Call("DELETE", f"{target}{mark}{held}"))
        answer = self._lease_answer(target, reply, followed)
        if answer.is_success:
            return True
        if answer.status != 409:
            fail_write(self.endpoint.shown(target), answer, unknown=followed)
        if not followed:
            return False
        row = document.lease_of(answer, lease.key, self.endpoint.shown(target))
        return (row.owner, row.generation) == ("", lease.generation)

    def _lease_answer(self, target: str, reply: Reply, followed: bool) -> Answer:
        url = self.endpoint.shown(target)
        if isinstance(reply, Answer) and reply.status in NOT_OFFERED:
            raise not_offered(url, "leases", reply)
        if not isinstance(reply, Answer) or reply.status in RETRIED:
            fail_write(url, reply, unknown=followed)
        return reply

    # ---- the steps -------------------------------------------------------------------------------------------

    def _sent(self, call: Call) -> Plan[tuple[Reply, bool]]:
        """Send a request that may be repeated; return the last reply, and whether an earlier one may have done it."""
        followed = False
        reply: Reply = Failure(False, TimeoutError("not sent"))
        for attempt in range(self.retries + 1):
            if attempt:
                yield pause(attempt)
            answered = yield call
            assert answered is not None, "a call is answered"  # nosec B101 # our own mistake
            reply = answered
            if isinstance(reply, Answer) and reply.status not in RETRIED:
                break
            followed = followed or not is_refusal(reply)
        return reply, followed

    def _fetched(self, key: SessionKey, lease: Lease | None = None) -> Plan[Stored | None]:
        """Read a session; None only where the service says that there is none."""
        target = self.endpoint.target(key)
        reply, _ = yield from self._sent(Call("GET", target, headers=under(lease)))
        if isinstance(reply, Answer):
            if reply.status == 404:
                return None
            if reply.status == 423 and lease is not None:
                raise lost(lease)
            if reply.status == 200:
                return document.stored_of(reply, key, self.endpoint.shown(target))
        fail_read(self.endpoint.shown(target), reply)

    def _write(
        self, key: SessionKey, stored: Stored, change: Change, *, now_s: float, policy: Policy, keep_archive: bool,
        lease: Lease | None,
    ) -> Plan[SessionData | None]:
        """Change what was read and write it; None where another's write came first."""
        revision = stored.revision
        if not document.apply(stored, change, now_s=now_s, policy=policy, keep_archive=keep_archive):
            return stored.session
        write_id = secrets.token_hex(8)
        body = document.encoded(stored, revision, write_id)
        is_in_place = yield from self._put(key, stored.etag, revision, body, write_id, lease)
        return stored.session if is_in_place else None

    def _put(
        self, key: SessionKey, etag: str | None, revision: int, body: bytes, write_id: str, lease: Lease | None
    ) -> Plan[bool]:
        """
        Write a session over the version that was read; False where another's write came first, and ours never.

        Raises:
            StoreWriteError: Nothing was written. OutcomeUnknownError: It may have been, or may be yet.
        """
        target = self.endpoint.target(key)
        url = self.endpoint.shown(target)
        condition = {"If-None-Match": "*"} if etag is None else {"If-Match": etag}
        call = Call("PUT", target, body, {"Content-Type": "application/json", **condition, **under(lease)})
        reply: Reply = Failure(False, TimeoutError("not sent"))
        unsure = in_flight = False
        for attempt in range(self.retries + 1):
            if attempt:
                yield pause(attempt)
            answered = yield call
            assert answered is not None, "a call is answered"  # nosec B101 # our own mistake
            reply = answered
            if isinstance(reply, Answer) and reply.is_success:
                return True
            unsure = unsure or not is_refusal(reply)
            in_flight = in_flight or may_follow(reply)
            if unsure:
                found = yield from self._found_after(key, etag, revision, write_id)
                if found != "as before":
                    return found == "this"
            elif isinstance(reply, Answer) and reply.status == 412:
                return False
            if isinstance(reply, Answer) and reply.status not in (*RETRIED, 412):
                if reply.status == 423 and lease is not None and not in_flight:
                    raise lost(lease)
                break
        fail_write(url, reply, unknown=in_flight)

    def _found_after(
        self, key: SessionKey, etag: str | None, revision: int, write_id: str
    ) -> Plan[Literal["this", "another", "as before"]]:
        """Find out whose write followed the version that was read. Raises OutcomeUnknownError where nothing tells."""
        url = self.endpoint.shown(self.endpoint.target(key))
        try:
            now = yield from self._fetched(key)
        except SessionStoreError as error:
            raise OutcomeUnknownError(
                f"Whether {url} was changed is not known: the answer got lost, and then: {error} Write again with the "
                f"same message_id, which is stored once.", path=url,
            ) from error
        if now is not None and any(made_by == write_id for _, made_by in now.writes):
            return "this"
        if (now.etag if now else None) == etag:
            return "as before"
        if now is not None and any(made == revision for made, _ in now.writes):
            return "another"  # the list reaches back to what was read, and this write is not in it
        raise OutcomeUnknownError(
            f"Whether {url} was changed is not known: the answer got lost, and others have written much or deleted it "
            f"since. Read it, or write again with the same message_id, which is stored once.", path=url,
        )

    def _another_turn(self, key: SessionKey, begun: float, turns: int) -> Plan[None]:
        """Wait a moment that grows, so that writers of one session part. Raises LockTimeoutError."""
        waited_s = time.monotonic() - begun
        if waited_s > self.busy_timeout_s:
            url = self.endpoint.shown(self.endpoint.target(key))
            raise LockTimeoutError(
                f"{url} was changed by others {turns} times in {waited_s:.1f} s, each time first. Nothing was "
                f"written: try again.", path=url, waited_s=waited_s, holder=(),
            )
        longest = min(_BUSY_PAUSE_S * 2 ** min(turns, 10), _LONGEST_BUSY_PAUSE_S)
        yield Pause(random.uniform(0, longest))  # nosec B311 # a pause, no secret

    def _listed(
        self, query: Sequence[tuple[str, str]], filters: Filter | None, namespace: str | None, operation: str
    ) -> Plan[tuple[list[SessionInfo], int]]:
        named = [] if namespace is None else [("namespace", namespace)]
        try:
            parts = [urlencode([*named, *query]), *([] if filters is None else [to_query(filters)])]
        except UnicodeEncodeError as error:
            raise InvalidArgumentError(f"{operation} was asked for a lone surrogate, which no URL holds.") from error
        target = "?" + "&".join(parts)
        reply, _ = yield from self._sent(Call("GET", target))
        if isinstance(reply, Answer):
            if reply.status in NOT_OFFERED:
                raise not_offered(self.endpoint.url, operation, reply)
            if reply.status == 200:
                return document.listing_of(reply, self.endpoint.url)
        fail_read(self.endpoint.url, reply)
