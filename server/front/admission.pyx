"""Quotas and overload, asked at every request: a few words of shared memory, a few of this process, no lock.

    over()     ->  which limit of its tenant a request is over, if any            429
    sheds()    ->  whether this process has too much to do to answer it           503
    took()     ->  what it took, which decides about the next ones
"""

import time

import structlog
from libc.stdint cimport int64_t

from server.shared.page cimport charge_to, nanoseconds, take_from

from server.shared.page import LIMITS as _LIMITS

TEXTS = ("too many requests", "too many flag evaluations", "too many bytes on their way", "too many event streams")
OVERLOADED = "too much to do at the moment"

cdef int64_t SECOND = 1000000000
cdef int64_t WINDOW = 100000000  # nanoseconds over which tenants' shares are measured
cdef double TELL = 60.0  # seconds between two lines of log about one tenant
assert _LIMITS[:4] == ("requests", "evaluations", "bytes", "streams")
assert _LIMITS[4:] == tuple(f"{each}_warned" for each in _LIMITS[:4])


cdef class Tenant:
    pass


cdef Tenant new_tenant(str name, Cell cell, quota):
    """A burst is one second of the rate, so its nanoseconds are a second whatever the rate; or it is one request."""
    cdef Tenant tenant = Tenant.__new__(Tenant)
    cdef double requests = quota.requests_per_second, evaluations = quota.evaluations_per_second
    tenant.name = name
    tenant.cell = cell
    tenant.quota = quota
    tenant.warn = quota.warn
    if requests:
        tenant.request_cost = max(1, <int64_t>min(1e18, 1e9 / requests))
        tenant.request_burst = max(SECOND, tenant.request_cost)
    if evaluations:
        tenant.evaluation_cost = 1e9 / evaluations
    tenant.rated = requests or evaluations
    tenant.window = -1
    return tenant


cdef class Admission:
    def __init__(self, Page page, Block block, quotas, *, double shed_after, call_soon):
        self.page = page
        self.block = block
        self.counters = block.fields
        self.quotas = quotas
        self.call_soon = call_soon
        self.turn_is_over = self._turn_is_over
        self.log = structlog.get_logger("admission")
        self.tenants = {}
        self.told = {}
        self.turns.target = <int64_t>(1e9 * shed_after)
        self.active = []
        self.greedy = []

    cpdef Tenant tenant(self, str name):
        """See admission.pyi; so in the next ones."""
        found = self.tenants.get(name)
        if found is None:
            found = self.tenants[name] = new_tenant(name, self.page.cell(name), self.quotas.of(name))
        return <Tenant>found

    cdef int arrive(self) except -1:
        """There is something to do. What comes until the loop gets to its callbacks is of one turn."""
        cdef int64_t now
        if not self.turns.open:
            now = nanoseconds()
            if is_worth_a_look(&self.turns, now):
                self.begin_turn(now)
                self.call_soon(self.turn_is_over)
        return 0

    def arrived(self):
        self.arrive()

    def _turn_is_over(self):
        self.end_turn(nanoseconds())

    cpdef int begin_turn(self, int64_t now) except -1:
        begin_turn(&self.turns, now)
        if now - self.window_begun >= WINDOW:
            self.next_window(now)
        return 0

    cpdef int end_turn(self, int64_t now) except -1:
        end_turn(&self.turns, now)
        self.counters.overloaded = self.turns.overloaded
        return 0

    cdef int next_window(self, int64_t now) except -1:
        """Who used more than a fair share of the last one? It matters only while there is more to do than can be done.

        Greedy is who used more than the mean, unless those who used no more than it and it took but half of all together:
        then somebody else is the one who is in the way.
        """
        cdef Tenant each
        cdef int64_t total = 0, below = 0
        for each in self.greedy:
            each.greedy = False
        self.greedy = []
        if self.turns.long_since and len(self.active) > 1:
            for each in self.active:
                total += each.used
            self.active.sort(key=_used_by)
            for each in self.active:
                below += each.used
                if each.used * len(self.active) > now - self.window_begun and 2 * below > total:
                    each.greedy = True
                    self.greedy.append(each)
        self.active = []
        self.window += 1
        self.window_begun = now
        return 0

    cdef int over(self, Tenant tenant, int64_t body, int64_t now, int64_t *wait) except -2:
        """The limit for which a request is to be refused, and nanoseconds to wait; WITHIN where it may pass."""
        cdef int64_t ahead
        if tenant.evaluation_cost:
            ahead = tenant.cell.fields.evaluations_at - now - SECOND
            if ahead > 0 and self.enforced(tenant, EVALUATIONS):
                wait[0] = ahead
                return EVALUATIONS
        if body and tenant.quota.bytes_in_flight:
            held = self.page.bytes_of(tenant.cell)
            if held and held + body > tenant.quota.bytes_in_flight and self.enforced(tenant, BYTES):
                wait[0] = SECOND
                return BYTES
        if tenant.request_cost:
            ahead = take_from(&tenant.cell.fields.requests_at, now, tenant.request_cost, tenant.request_burst)
            if ahead and self.enforced(tenant, REQUESTS):
                wait[0] = ahead
                return REQUESTS
        return WITHIN

    cdef int give_back(self, Tenant tenant, int64_t now) except -1:
        """A request that was let in is somebody else's to answer, who asks for it too."""
        if tenant.request_cost:
            charge_to(&tenant.cell.fields.requests_at, now, -tenant.request_cost)
        return 0

    def refused(self, Tenant tenant not None, int64_t body, int64_t now):
        cdef int64_t wait = 0
        cdef int limit = self.over(tenant, body, now, &wait)
        return None if limit == WITHIN else (limit, -(-wait // SECOND))

    def refused_stream(self, Tenant tenant not None):
        if tenant.quota.streams and self.page.streams_of(tenant.cell) >= tenant.quota.streams and self.enforced(tenant, STREAMS):
            return <int>STREAMS, 1 + self.retry_after()
        return None

    cdef bint enforced(self, Tenant tenant, int limit) except -1:
        """Counts and logs that a tenant is over a limit."""
        self.counters.limited[limit + (4 if tenant.warn else 0)] += 1
        cdef double now = time.monotonic()
        if now - <double>self.told.get(tenant.name, -TELL) >= TELL:
            self.told[tenant.name] = now
            self.log.warning(
                "a tenant is over its limit", tenant=tenant.name, limit=_LIMITS[limit], refused=not tenant.warn
            )
        return not tenant.warn

    cpdef int hold(self, Tenant tenant, int64_t body) except -1:
        self.block.hold(tenant.cell, bytes=body)
        return 0

    cpdef bint sheds(self, Tenant tenant, int64_t cost, int64_t now) noexcept:
        return is_too_much(&self.turns, now, tenant.greedy, cost) != 0

    cpdef int took(self, Tenant tenant, int64_t spent) except -1:
        if tenant.window != self.window:
            tenant.window = self.window
            tenant.used = 0
            self.active.append(tenant)
        tenant.used += spent
        took(&self.turns, spent, tenant.greedy)
        return 0

    cpdef int charge(self, Tenant tenant, int64_t evaluations, int64_t now) except -1:
        if tenant.evaluation_cost and evaluations:
            charge_to(&tenant.cell.fields.evaluations_at, now, <int64_t>min(1e15, evaluations * tenant.evaluation_cost))
        return 0

    cpdef int retry_after(self):
        self.jitter += 1
        return 1 + self.jitter % 3

    def tick(self):
        if self.turns.overloaded and not self.turns.open and nanoseconds() - self.turns.ended > PATIENCE:
            self.turns.overloaded = 0
            self.counters.overloaded = 0

    @property
    def overloaded(self):
        return self.turns.overloaded != 0


def _used_by(Tenant tenant not None):
    return tenant.used
