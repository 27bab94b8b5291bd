"""The front protocol on uvloop: bytes in, bytes out, one write for all requests of a read.

    b"POST /ofrep/v1/evaluate/flags/checkout HTTP/1.1\\r\\n…"  ->  scan.h  ->  Snapshot.evaluate_json  ->  transport.write

It answers only what it recognises and may answer: an evaluate request, with a key that opens one environment. Everything else
(other requests, and refusals that are not said again and again) goes to aiohttp by `transport.set_protocol`, with its bytes as they came, so that there is one
place that decides what those get. INVARIANT: a connection is handed over only when all its earlier requests were answered.
"""

import asyncio
import time
from array import array
from fcntl import ioctl
from termios import FIONREAD as _FIONREAD
from email.utils import formatdate

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from server.front.admission cimport WITHIN, Admission, Tenant
from server.shared.page cimport Block, BlockFields, Page, nanoseconds

from engine import error_code_of
from server.front.admission import OVERLOADED as _OVERLOADED, TEXTS as _TEXTS
from server.http import cors as _cross_origin
from server.http.event_address import without_mark
from server.http.groups import has_groups
from server.http.presented_key import KeyRefusal, opened_by
from server.shared.page import KEY_REASONS as _KEY_REASONS, STATUS_CODES as _STATUS_CODES
from server.types import EVALUATING as _EVALUATING

cdef extern from "scan.h" nogil:
    ctypedef struct Span:
        const char *at
        uint32_t length

    ctypedef struct Request:
        int route, packed, close
        uint32_t head, body  # bytes
        Span key, credential, if_none_match, environment, origin

    enum: SCAN_REQUEST, SCAN_PARTIAL, SCAN_OTHER, ROUTE_BATCH, ROUTE_FLAGS, ROUTE_FLAG

    int scan_head(const char *p, size_t n, uint32_t max_body, Request *r)

cdef enum:
    MAX_PIPELINED = 64  # requests answered in one go
    MAX_BODY = 16 << 20  # bytes; what the engine takes
    MAX_WRITTEN = 1 << 18  # bytes of answers after which the rest waits for its turn
    MAX_REFUSED = 1024  # presented keys that are known to open nothing

cdef double TICK = 1.0  # seconds between two looks at the clock
cdef int OK = _STATUS_CODES.index(200), NOT_MODIFIED = _STATUS_CODES.index(304), BAD_REQUEST = _STATUS_CODES.index(400)
cdef int NOT_FOUND = _STATUS_CODES.index(404), TIMED_OUT = _STATUS_CODES.index(408), TOO_MANY = _STATUS_CODES.index(429)
cdef int UNAVAILABLE = _STATUS_CODES.index(503)
cdef dict STATUS_LINES = {
    200: b"HTTP/1.1 200 OK\r\n",
    400: b"HTTP/1.1 400 Bad Request\r\n",
    404: b"HTTP/1.1 404 Not Found\r\n",
    429: b"HTTP/1.1 429 Too Many Requests\r\n",
    503: b"HTTP/1.1 503 Service Unavailable\r\n",
}
cdef tuple TYPES = (
    b"Content-Type: application/json\r\n",
    b"Content-Type: application/msgpack\r\n",
    b"Content-Type: application/vnd.msgpack\r\n",
)
cdef bytes TOO_SLOW = (
    b'HTTP/1.1 408 Request Timeout\r\nContent-Type: application/json\r\nCache-Control: private, no-store\r\n'
    b'Connection: close\r\nContent-Length: 50\r\n\r\n{"errorDetails":"the body did not arrive in time"}'
)


cdef class _Entry:
    """A presented key and environment, and what they open: kept until the key's project is another."""

    cdef object expires, served, grant, stale
    cdef frozenset origins  # of pages that may use a client key
    cdef bytes tail  # instead of a bulk answer's last brace; None: nothing more is said
    cdef str mark  # of bulk answers' entity tags
    cdef double offered_until  # seconds since the epoch
    cdef bint valid  # until it is forgotten
    cdef Tenant tenant
    cdef int64_t[3] cost  # nanoseconds that its requests of a route have taken lately
    cdef bint client
    cdef object snapshot, evaluate_json, evaluate_if_changed, evaluate_batch
    cdef bytes credential
    cdef bytes common  # headers of every answer
    cdef bytes head  # of the usual answer, up to the number of its length
    cdef long second  # when these were made


cdef class Front:
    cdef object loop, catalog, handler, offer
    cdef Page page
    cdef Block block
    cdef BlockFields *counters
    cdef Admission admission
    cdef uint32_t max_body
    cdef double head_timeout, body_timeout, keepalive_timeout
    cdef double clock  # seconds, monotonic, coarse
    cdef double wall  # seconds since the epoch, coarse
    cdef long second
    cdef bytes date
    cdef dict entries  # (credential, environment) as bytes -> _Entry
    cdef dict entries_of  # project -> keys of `entries`
    cdef dict refused  # credentials that open nothing -> why; as long as nothing is published
    cdef list sheds  # answers for what is too much, by the seconds to wait
    cdef uint64_t position  # of the journal, as far as the entries know
    cdef set connected
    cdef bint draining
    cdef object telemetry  # server/evaluations/telemetry.py, or None
    cdef int64_t unsampled  # requests up to and with the next one that it records

    def __init__(
        self, loop, catalog, Page page, Block block, Admission admission, handler, *,
        max_body, head_timeout, body_timeout, keepalive_timeout, telemetry=None, offer=None
    ):
        self.loop = loop
        self.catalog = catalog
        self.page = page
        self.block = block
        self.counters = block.fields
        self.handler = handler
        self.admission = admission
        self.offer = offer
        self.max_body = min(max_body, MAX_BODY)
        # The clock may be a tick behind when a deadline is set by it, and nobody is to have less time than was said.
        self.head_timeout = head_timeout + TICK
        self.body_timeout = body_timeout + TICK
        self.keepalive_timeout = keepalive_timeout + TICK
        self.entries = {}
        self.entries_of = {}
        self.refused = {}
        self.position = 0
        self.connected = set()
        self.telemetry = telemetry
        self.unsampled = telemetry.gap() if telemetry is not None else 0
        self.tick()

    def __call__(self):
        return _Connection(self)

    @property
    def connections(self):
        return len(self.connected)

    def tick(self):
        """See protocol.pyi."""
        cdef _Connection connection
        self.clock = time.monotonic()
        self.wall = time.time()
        self.second = <long>self.wall
        self.date = b"Date: " + formatdate(self.second, usegmt=True).encode() + b"\r\n"
        self.sheds = [self.refusal(503, _OVERLOADED, seconds, False) for seconds in (1, 2, 3)]
        self.counters.connections = len(self.connected)
        for connection in [each for each in self.connected if (<_Connection>each).deadline < self.clock]:
            connection.reap()
        self.admission.tick()

    def forget(self, projects):
        """See protocol.pyi."""
        cdef _Entry entry
        for project in projects:
            for identity in self.entries_of.pop(project, ()):
                entry = self.entries.pop(identity)
                entry.valid = False

    def leave(self):
        """See protocol.pyi."""
        self.draining = True

    async def drain(self, timeout):
        """See protocol.pyi."""
        cdef _Connection connection
        self.draining = True
        give_up = time.monotonic() + timeout
        while self.connected and time.monotonic() < give_up:
            for connection in list(self.connected):
                busy = connection.buffer is not None or connection.waiting or connection.unwanted
                if not busy and not has_unread(connection.transport):
                    connection.transport.close()
            await asyncio.sleep(0.02)
        for connection in list(self.connected):
            connection.transport.abort()

    cdef bytes refusal(self, int status, str why, int64_t seconds, bint close, bytes cors=b""):
        return b"%bRetry-After: %d\r\n%b%b%bContent-Length: %d\r\n\r\n{\"errorDetails\":\"%b\"}" % (
            <bytes>STATUS_LINES[status] + b"Content-Type: application/json\r\nCache-Control: private, no-store\r\n",
            seconds,
            self.date,
            cors,
            CLOSE if close or self.leaving() else b"",
            len(why) + 19,
            why.encode(),
        )

    cdef bint leaving(self) except -1:
        """Is every answer to be a connection's last, so that the caller goes elsewhere?"""
        return self.draining or self.page.header.draining != 0

    cdef _Entry entry(self, bytes credential, bytes environment):
        """What the key opens, or None: somebody else is to say why not."""
        cdef _Entry entry
        if self.position != self.page.header.position:
            self.catalog.refresh()
            self.position = self.catalog.position
            self.refused.clear()
        identity = (credential, environment)
        found = self.entries.get(identity)
        if found is not None:
            entry = <_Entry>found
        else:
            entry = self.look_up(credential, environment)
            if entry is None:
                return None
            self.entries[identity] = entry
            self.entries_of.setdefault(entry.served.id.project_id, []).append(identity)
        if entry.expires is not None and entry.expires <= self.wall:
            self.grant_of(credential)
            return None
        if entry.second != self.second:
            if self.catalog.served(entry.served.id) is not entry.served:  # let go, or it could not be mapped before
                self.forget((entry.served.id.project_id,))
                return self.entry(credential, environment)
            entry.common = (
                b"Cache-Control: private, no-store\r\nBurgee-Version: %b\r\nBurgee-Age: %d\r\n%b"
                % (entry.served.version.encode(), int(self.catalog.age_of(entry.served)), self.date)
            )
            entry.head = <bytes>STATUS_LINES[200] + <bytes>TYPES[0] + entry.common + b"Content-Length: "
            entry.stale = self.catalog.stale(entry.served)
            if self.offer is not None and entry.offered_until <= self.wall:
                entry.tail, entry.mark, entry.offered_until = self.offer(entry.grant, entry.served.id, self.wall)
            entry.second = self.second
            entry.served.used_at = self.clock
        return entry

    cdef object grant_of(self, bytes credential):
        """What the key opens; None, and remembered as such, when it opens nothing."""
        if credential in self.refused:
            return None
        found = opened_by(credential.decode("latin-1"), _EVALUATING, self.catalog.grant, self.wall)
        if not isinstance(found, KeyRefusal):
            return found
        if self.catalog.ready:  # before that, the key may be one that is still to be read
            if len(self.refused) >= MAX_REFUSED:
                self.refused.clear()
            self.refused[credential] = found
        return None

    cdef bytes refuse_key(self, Request *r):
        """What a key gets that opens nothing; None where aiohttp is to say what is the matter."""
        why = self.refused.get(span(&r.credential))
        if why is None:
            return None
        self.counters.refused_keys[<int>_KEY_REASONS.index(why.reason)] += 1
        self.counters.requests[r.route][<int>_STATUS_CODES.index(why.status)] += 1
        return why.message(self.date, close=r.close or self.leaving())

    cdef _Entry look_up(self, bytes credential, bytes environment):
        cdef _Entry entry
        grant = self.grant_of(credential)
        if grant is None:
            return None
        if environment is None:
            wanted = grant.environments[0] if len(grant.environments) == 1 else None
        else:
            name = environment.decode("latin-1")
            wanted = next((each for each in grant.environments if each.environment == name), None)
        served = self.catalog.served(wanted) if wanted is not None else None
        if served is None:
            return None
        entry = _Entry.__new__(_Entry)
        entry.credential = credential if environment is None else b""
        entry.expires = grant.expires
        entry.grant = grant
        entry.client = grant.client
        entry.origins = frozenset(each.encode() for each in self.catalog.origins_of(wanted))
        entry.offered_until = 0
        entry.served = served
        entry.valid = True
        entry.tenant = self.admission.tenant(grant.project.tenant)
        entry.cost[:] = [0, 0, 0]
        entry.snapshot = served.snapshot
        entry.evaluate_json = served.snapshot.evaluate_json
        entry.evaluate_if_changed = served.snapshot.evaluate_json_if_changed
        entry.evaluate_batch = served.snapshot.evaluate_batch
        entry.second = -1
        return entry


cdef class _Connection:
    """One client. It becomes aiohttp's with the first request that is not ours."""

    cdef Front front
    cdef object transport
    cdef object buffer  # bytearray: a request that is only half here, or requests that wait for their turn; or None
    cdef Py_ssize_t needed  # bytes of `buffer` before it is worth looking again
    cdef double deadline  # by the front's clock: for the rest of a request, or for the next one
    cdef bint in_body, paused, waiting, refused
    cdef bint admitted  # the request whose body is on its way was let in
    cdef int route  # of that request
    cdef bint last  # nothing is answered after what is unwanted
    cdef Py_ssize_t unwanted  # bytes that are still to come of a body whose request was refused
    cdef int64_t held  # bytes of a body that its tenant has on its way
    cdef Tenant holder
    cdef _Entry latest  # of the latest request: most clients have one key
    cdef object __weakref__

    def __init__(self, Front front):
        self.front = front

    def connection_made(self, transport):
        self.transport = transport
        self.front.connected.add(self)
        self.deadline = self.front.clock + self.front.head_timeout

    def connection_lost(self, error):
        self.front.connected.discard(self)
        self.buffer = None
        self.release()

    def eof_received(self):
        return False  # close; what was complete has been answered

    def pause_writing(self):
        self.paused = True
        self.transport.pause_reading()

    def resume_writing(self):
        self.paused = False
        self.go_on()

    def data_received(self, bytes data not None):
        self.front.admission.arrive()
        if self.unwanted:
            data = self.without_unwanted(data)
            if data is None:
                return
        if self.buffer is not None:
            self.buffer += data
            if len(self.buffer) < self.needed or self.waiting or self.paused:
                return
            data = bytes(self.buffer)
            self.buffer = None
        self.work(data)

    cdef bytes without_unwanted(self, bytes data):
        """What follows the rest of a refused request's body; None: nothing yet."""
        cdef Py_ssize_t n = min(self.unwanted, PyBytes_GET_SIZE(data))
        self.unwanted -= n
        if self.unwanted:
            return None
        self.in_body = False
        self.deadline = self.front.clock + self.front.keepalive_timeout
        if self.last or self.front.leaving():
            self.transport.close()
            return None
        return data[n:] or None

    cdef int release(self) except -1:
        if self.held:
            self.front.admission.hold(self.holder, -self.held)
            self.held = 0
            self.holder = None
        return 0

    def go_on(self):
        """Take up what waited for its turn, or for the client to read."""
        if self.paused or self.transport.is_closing():
            return
        self.transport.resume_reading()
        if self.waiting:
            self.front.admission.arrive()
            self.waiting = False
            data = bytes(self.buffer)
            self.buffer = None
            self.work(data)

    cdef int reap(self) except -1:
        """Its deadline has passed."""
        if self.waiting or self.paused:
            if self.paused:  # it asks and does not read
                self.transport.abort()
            return 0
        if self.in_body and not self.unwanted:
            self.front.counters.requests[self.route][TIMED_OUT] += 1
            self.transport.write(TOO_SLOW)
        self.transport.close()
        return 0

    cdef int keep(self, bytes data, Py_ssize_t offset, Py_ssize_t needed) except -1:
        self.buffer = bytearray(memoryview(data)[offset:])
        self.needed = needed
        return 0

    cdef int work(self, bytes data) except -1:
        """Answer the requests at hand, in order, with one write."""
        cdef Front front = self.front
        cdef const char *p = PyBytes_AS_STRING(data)
        cdef Py_ssize_t n = PyBytes_GET_SIZE(data), offset = 0, written = 0
        cdef int state, count = 0
        cdef Request r
        cdef bytes answer, first = None
        cdef int64_t begun, ended
        cdef list more = None
        while offset < n:
            state = scan_head(p + offset, n - offset, front.max_body, &r)
            if state == SCAN_PARTIAL:
                if self.in_body or self.deadline - front.clock > front.head_timeout:
                    self.deadline = front.clock + front.head_timeout
                self.in_body = False
                self.keep(data, offset, 0)
                break
            if state == SCAN_REQUEST and n - offset < <Py_ssize_t>r.head + r.body:
                if not self.in_body:
                    answer = self.refuse_early(&r)
                    if answer is not None or not self.admitted:
                        self.write(first, more)
                        if answer is None:
                            self.hand_over(data[offset:])
                        else:
                            self.transport.write(answer)
                            self.unwanted = <Py_ssize_t>r.head + r.body - (n - offset)
                            self.last = r.close
                            self.in_body = True
                            self.deadline = front.clock + front.body_timeout
                        return 0
                    self.deadline = front.clock + front.body_timeout
                    self.in_body = True
                    self.route = r.route
                self.keep(data, offset, <Py_ssize_t>r.head + r.body)
                break
            self.release()
            begun = nanoseconds()
            answer = self.answer(&r, p + offset, begun) if state == SCAN_REQUEST else None
            self.admitted = False
            if answer is None:
                self.write(first, more)
                self.hand_over(data[offset:])
                return 0
            ended = nanoseconds()
            front.block.time(r.route, 1e-9 * (ended - begun))
            if self.latest is not None:
                self.took(&r, ended - begun)
            if first is None:
                first = answer
            elif more is None:
                more = [first, answer]
            else:
                more.append(answer)
            written += PyBytes_GET_SIZE(answer)
            offset += <Py_ssize_t>r.head + r.body
            count += 1
            self.in_body = False
            self.deadline = front.clock + front.keepalive_timeout
            if r.close or front.leaving():
                self.write(first, more)
                self.transport.close()
                return 0
            if (count == MAX_PIPELINED or written > MAX_WRITTEN) and offset < n:
                self.keep(data, offset, 0)
                self.waiting = True
                self.transport.pause_reading()
                front.loop.call_soon(self.go_on)
                break
        self.write(first, more)
        return 0

    cdef int write(self, bytes first, list more) except -1:
        if more is not None:
            self.transport.write(b"".join(more))
        elif first is not None:
            self.transport.write(first)
        return 0

    cdef int hand_over(self, bytes data) except -1:
        self.front.connected.discard(self)
        self.release()
        handler = self.front.handler()
        transport = self.transport
        transport.set_protocol(handler)
        handler.connection_made(transport)
        if self.paused:  # the client is behind with reading: aiohttp is to know, and does without our pause
            handler.pause_writing()
            transport.resume_reading()
        handler.data_received(data)
        return 0

    cdef _Entry entry_of(self, Request *r):
        cdef Front front = self.front
        cdef _Entry latest = self.latest
        if (
            latest is not None
            and r.environment.length == 0
            and r.credential.length == PyBytes_GET_SIZE(latest.credential)
            and memcmp(r.credential.at, PyBytes_AS_STRING(latest.credential), r.credential.length) == 0
            and latest.second == front.second
            and latest.expires is None
            and latest.valid
            and front.position == front.page.header.position
        ):
            return latest
        self.latest = front.entry(span(&r.credential), span(&r.environment) if r.environment.length else None)
        return self.latest

    cdef bytes cors_of(self, Request *r, _Entry entry):
        """Headers that let a page read the answer to a client key; None where the page may not use it."""
        if not r.origin.length or not entry.client:
            return b""
        origin = span(&r.origin)
        if origin not in entry.origins and b"*" not in entry.origins:
            return None
        return CORS % (origin, b"Accept, " if r.route == ROUTE_BATCH else b"")

    cdef bytes refuse_early(self, Request *r):
        """The refusal of a request whose body is still on its way. None: it is admitted, or to be handed over."""
        cdef _Entry entry = self.entry_of(r)
        cdef bytes refusal, cors
        if entry is None:
            return None if r.origin.length else self.front.refuse_key(r)
        cors = self.cors_of(r, entry)
        if cors is None:
            return None
        refusal = self.refuse(r, entry, r.body, nanoseconds(), cors)
        if refusal is None:
            self.admitted = True
            self.held = r.body
            self.holder = entry.tenant
            self.front.admission.hold(self.holder, self.held)
        return refusal

    cdef bytes refuse(self, Request *r, _Entry entry, int64_t body, int64_t now, bytes cors):
        """What a request gets that is over a limit, or too much; None: it is let in."""
        cdef Front front = self.front
        cdef int64_t wait = 0
        cdef int limit = WITHIN
        if body or entry.tenant.rated:
            limit = front.admission.over(entry.tenant, body, now, &wait)
        if limit != WITHIN:
            front.counters.requests[r.route][TOO_MANY] += 1
            return front.refusal(429, _TEXTS[limit], (wait + 999999999) // 1000000000, r.close, cors)
        if front.admission.sheds(entry.tenant, entry.cost[r.route], now):
            front.counters.requests[r.route][UNAVAILABLE] += 1
            front.counters.shed[r.route] += 1
            if r.close or cors or front.leaving():
                return front.refusal(503, _OVERLOADED, front.admission.retry_after(), r.close, cors)
            return <bytes>front.sheds[front.admission.retry_after() - 1]
        return None

    cdef int took(self, Request *r, int64_t spent) except -1:
        cdef _Entry entry = self.latest
        cdef int64_t cost = entry.cost[r.route]
        if not self.refused:  # one in which this process was put aside says little of the others
            entry.cost[r.route] = cost + ((min(spent, 2 * cost) - cost) >> 3) if cost else spent
        self.front.admission.took(entry.tenant, spent)
        return 0

    cdef bytes answer(self, Request *r, const char *p, int64_t now):
        """The answer; None where the request is not to be answered here."""
        cdef Front front = self.front
        cdef _Entry entry = self.entry_of(r)
        cdef bytes body, reply, cors, tag = b"", tail = None
        cdef int status = 200, kind = 0
        cdef uint64_t evaluated = 0
        self.refused = True
        if entry is None:
            return None if r.origin.length else front.refuse_key(r)  # a page may be let read why: aiohttp says
        cors = self.cors_of(r, entry)
        if cors is None:
            return None
        if not self.admitted:
            reply = self.refuse(r, entry, 0, now, cors)
            if reply is not None:
                return reply
        self.refused = False
        body = PyBytes_FromStringAndSize(p + r.head, r.body)
        if r.route == ROUTE_BATCH and has_groups(body):
            front.admission.give_back(entry.tenant, now)  # aiohttp's handler asks again
            return None
        if entry.tenant.evaluation_cost:
            evaluated = entry.snapshot.evaluated
        if r.route == ROUTE_FLAG:
            reply = entry.evaluate_json(body, span(&r.key).decode("ascii"), client=entry.client, stale=entry.stale)
            if is_failure(reply, r.key.length + 10):
                status = 404 if error_code_of(reply) == "FLAG_NOT_FOUND" else 400
        elif r.route == ROUTE_FLAGS:
            known = span(&r.if_none_match).decode("latin-1") if r.if_none_match.length else None
            if entry.tail is not None and known is not None:
                known = without_mark(known, entry.mark)
            tag_text, found = entry.evaluate_if_changed(body, known, client=entry.client, stale=entry.stale)
            if tag_text:
                if entry.tail is not None:
                    tail, tag_text = entry.tail, f'{tag_text[:len(tag_text) - 1]}{entry.mark}"'
                tag = b"ETag: %b\r\n" % (<str>tag_text).encode()
            if found is None:
                front.counters.requests[r.route][NOT_MODIFIED] += 1
                close = CLOSE if r.close or front.leaving() else b""
                return b"HTTP/1.1 304 Not Modified\r\n%b%b%b%b\r\n" % (entry.common, tag, cors, close)  # nothing was evaluated
            reply = found
            if is_failure(reply, 1):
                status = 400
        else:
            reply = entry.evaluate_batch(
                body, encoding="msgpack" if r.packed else "json", client=entry.client, stale=entry.stale
            )
            tag = b"" if cors else b"Vary: Accept\r\n"
            kind = r.packed
            if is_failure(reply, 1):
                status, kind = 400, 0
        if front.telemetry is not None:
            front.unsampled -= 1
            if front.unsampled == 0:
                front.unsampled = front.telemetry.gap()
                front.telemetry.record(entry.served, body, reply, packed=kind != 0)
        if entry.tenant.evaluation_cost:
            front.admission.charge(entry.tenant, <uint64_t>entry.snapshot.evaluated - evaluated, now)
        front.counters.requests[r.route][OK if status == 200 else BAD_REQUEST if status == 400 else NOT_FOUND] += 1
        if status == 200 and kind == 0 and not tag and not cors and not r.close and not front.leaving():
            return framed(entry.head, reply)
        head = b"%b%b%b%b%b%bContent-Length: " % (
            <bytes>STATUS_LINES[status],
            <bytes>TYPES[kind],
            entry.common,
            tag,
            cors,
            CLOSE if r.close or front.leaving() else b"",
        )
        return framed(head, reply, tail)


cdef bint has_unread(transport) except -1:
    """Has a request come that the event loop has not read yet? To close now would be to lose it."""
    unread = array("i", [0])
    try:
        ioctl(transport.get_extra_info("socket").fileno(), _FIONREAD, unread)
    except (OSError, ValueError):  # closed
        return False
    return unread[0] > 0


cdef bytes CLOSE = b"Connection: close\r\n"
cdef bytes CORS = (
    b"Access-Control-Allow-Origin: %b\r\nAccess-Control-Expose-Headers: {}\r\nVary: %bOrigin\r\n".replace(b"{}", _cross_origin.EXPOSED.encode())
)


cdef bint is_failure(bytes reply, Py_ssize_t at) noexcept:
    """Does the answer have an error code as the member at this place?"""
    return PyBytes_GET_SIZE(reply) > at + 12 and memcmp(PyBytes_AS_STRING(reply) + at, b'"errorCode":', 12) == 0


cdef bytes framed(bytes head, bytes body, bytes tail=None):
    """The head, the length of the body, an empty line, the body. A tail is in place of the body's last byte."""
    cdef char digits[24]
    cdef int count = 0
    cdef Py_ssize_t n = PyBytes_GET_SIZE(head), m = PyBytes_GET_SIZE(body), k = 0, rest
    if tail is not None:
        m -= 1
        k = PyBytes_GET_SIZE(tail)
    rest = m + k
    while True:
        digits[count] = b"0"[0] + rest % 10
        count += 1
        rest //= 10
        if rest == 0:
            break
    cdef bytes whole = PyBytes_FromStringAndSize(NULL, n + count + 4 + m + k)
    cdef char *to = PyBytes_AS_STRING(whole)
    memcpy(to, PyBytes_AS_STRING(head), n)
    to += n
    while count:
        count -= 1
        to[0] = digits[count]
        to += 1
    memcpy(to, b"\r\n\r\n", 4)
    memcpy(to + 4, PyBytes_AS_STRING(body), m)
    if k:
        memcpy(to + 4 + m, PyBytes_AS_STRING(tail), k)
    return whole


cdef bytes span(Span *s):
    return PyBytes_FromStringAndSize(s.at, s.length)


def scan(bytes data not None, uint32_t max_body=1 << 23):
    """See protocol.pyi."""
    cdef Request r
    cdef int state = scan_head(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), max_body, &r)
    if state == SCAN_REQUEST:
        return r.route, r.head, r.body
    return None if state == SCAN_PARTIAL else False
