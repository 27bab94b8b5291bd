"""Who is let in, for the extensions that ask at every request. admission.pyi has the meaning, turns.h the overload."""

cimport cython
from libc.stdint cimport int64_t, uint32_t

from server.shared.page cimport Block, BlockFields, Cell, Page

cdef extern from "turns.h" nogil:
    ctypedef struct Turns:
        int64_t target, begun, ended, length, long_since, fair  # nanoseconds, monotonic
        uint32_t answered, shed
        int open, overloaded

    enum: PATIENCE

    int is_worth_a_look(const Turns *t, int64_t now)
    void begin_turn(Turns *t, int64_t now)
    void end_turn(Turns *t, int64_t now)
    int is_too_much(Turns *t, int64_t now, int greedy, int64_t cost)
    void took(Turns *t, int64_t spent, int greedy)


cdef enum Limit:  # places in the page's LIMITS
    REQUESTS, EVALUATIONS, BYTES, STREAMS, WITHIN = -1


@cython.final
cdef class Tenant:
    cdef readonly str name
    cdef readonly Cell cell
    cdef readonly object quota
    cdef int64_t request_cost, request_burst  # nanoseconds of the rate; 0: no limit
    cdef double evaluation_cost  # nanoseconds, a fraction of one perhaps; 0: no limit
    cdef bint rated  # one of these is not 0
    cdef bint warn
    cdef readonly bint greedy
    cdef int64_t window  # in which it was answered last
    cdef readonly int64_t used  # nanoseconds of that window


@cython.final
cdef class Admission:
    cdef Page page
    cdef Block block
    cdef BlockFields *counters
    cdef object quotas, log, call_soon, turn_is_over
    cdef dict tenants  # name -> Tenant
    cdef dict told  # name -> when it was last logged that it is over a limit
    cdef Turns turns
    cdef int64_t window, window_begun
    cdef list active, greedy  # tenants: that were answered in this window; that used more than their share in the last one
    cdef uint32_t jitter

    cpdef Tenant tenant(self, str name)
    cdef int arrive(self) except -1
    cpdef int begin_turn(self, int64_t now) except -1
    cpdef int end_turn(self, int64_t now) except -1
    cdef int next_window(self, int64_t now) except -1
    cdef bint enforced(self, Tenant tenant, int limit) except -1
    cdef int over(self, Tenant tenant, int64_t body, int64_t now, int64_t *wait) except -2
    cpdef bint sheds(self, Tenant tenant, int64_t cost, int64_t now) noexcept
    cpdef int took(self, Tenant tenant, int64_t spent) except -1
    cpdef int charge(self, Tenant tenant, int64_t evaluations, int64_t now) except -1
    cdef int give_back(self, Tenant tenant, int64_t now) except -1
    cpdef int hold(self, Tenant tenant, int64_t body) except -1
    cpdef int retry_after(self)
