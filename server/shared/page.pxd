"""The shared memory, for the extensions that count in it. page.h says who writes what."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

cdef extern from "page.h" nogil:
    enum: ROUTES, STATUSES, TIMES, REASONS, CELLS

    ctypedef struct Header:
        uint64_t position
        double confirmed_at  # seconds, monotonic
        uint32_t ready, draining

    ctypedef struct BlockFields "Block":
        uint64_t pid, position
        double started_at, heartbeat
        int64_t connections, in_flight, streams, mapped, mapped_bytes
        uint64_t requests[ROUTES][STATUSES]
        uint64_t times[ROUTES][TIMES]
        double seconds[ROUTES]
        uint64_t refused_keys[REASONS]
        uint64_t limited[REASONS]
        uint64_t shed[ROUTES]
        uint64_t evaluations, maps, map_failures, evictions
        int64_t overloaded, slot

    ctypedef struct CellFields "Cell":
        uint64_t name
        int64_t requests_at, evaluations_at  # nanoseconds, monotonic
        double behind_since  # seconds, monotonic

    ctypedef struct Usage:
        uint32_t bytes, streams

    int64_t nanoseconds()
    uint32_t cell_of(CellFields *cells, uint64_t name)
    int64_t take_from(int64_t *at, int64_t now, int64_t cost, int64_t burst)
    void charge_to(int64_t *at, int64_t now, int64_t cost)


cdef class Page:
    cdef object memory  # the mmap
    cdef Header *header
    cdef BlockFields *blocks
    cdef CellFields *cells
    cdef Usage *usage  # [block][cell]
    cdef readonly int block_count

    cpdef Block block(self, int index)
    cpdef Cell cell(self, str name)


cdef class Block:
    cdef Page page  # keeps the memory
    cdef BlockFields *fields
    cdef Usage *usage
    cdef readonly int index

    cdef void time(self, int route, double seconds) noexcept  # one more in the histogram of the route


cdef class Cell:
    cdef Page page
    cdef CellFields *fields
    cdef readonly uint32_t index
