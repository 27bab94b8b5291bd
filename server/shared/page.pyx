"""The shared memory: mapped once by the supervisor, inherited by every child. page.h has the layout, page.pyi the meaning."""

import mmap
import time

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, Py_buffer, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t, uint64_t

from engine import hash64

ROUTE_NAMES = ("evaluate", "ofrep_flags", "ofrep_flag", "ofrep_events", "sync", "none")
STATUS_CODES = (200, 204, 304, 400, 401, 403, 404, 405, 408, 411, 413, 415, 417, 429, 431, 500, 501, 503, 505, 0)  # 0: any other
KEY_REASONS = ("missing", "malformed", "unknown", "expired", "kind", "origin")
LIMITS = ("requests", "evaluations", "bytes", "streams", "requests_warned", "evaluations_warned", "bytes_warned", "streams_warned")
BOUNDS = (
    0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0,
)
assert (len(ROUTE_NAMES), len(STATUS_CODES), len(BOUNDS) + 1) == (ROUTES, STATUSES, TIMES)
assert len(KEY_REASONS) <= REASONS == len(LIMITS)

cdef double[TIMES - 1] UPPER  # BOUNDS, for the request path
for _index, _bound in enumerate(BOUNDS):
    UPPER[<int>_index] = _bound
cdef dict ROUTE_OF = {name: index for index, name in enumerate(ROUTE_NAMES)}
cdef dict STATUS_OF = {code: index for index, code in enumerate(STATUS_CODES)}
cdef dict KEY_REASON_OF = {name: index for index, name in enumerate(KEY_REASONS)}
cdef Py_ssize_t PAGE = mmap.PAGESIZE


cdef Py_ssize_t whole_pages(Py_ssize_t size):
    return (size + PAGE - 1) // PAGE * PAGE


cdef class Page:
    def __init__(self, int blocks):
        cdef Py_ssize_t blocks_at = PAGE, cells_at, usage_at, usage_size = whole_pages(CELLS * sizeof(Usage))
        cdef Py_buffer view
        if blocks < 1:
            raise ValueError("a page needs a block")
        cells_at = blocks_at + whole_pages(blocks * sizeof(BlockFields))
        usage_at = cells_at + whole_pages(CELLS * sizeof(CellFields))
        self.memory = mmap.mmap(-1, usage_at + blocks * usage_size)  # shared, and zeros
        # The view is not kept: nobody resizes or closes this mmap, so its address stays.
        PyObject_GetBuffer(self.memory, &view, PyBUF_SIMPLE | PyBUF_WRITABLE)
        self.header = <Header *>view.buf
        self.blocks = <BlockFields *>(<char *>view.buf + blocks_at)
        self.cells = <CellFields *>(<char *>view.buf + cells_at)
        self.usage = <Usage *>(<char *>view.buf + usage_at)
        self.block_count = blocks
        PyBuffer_Release(&view)

    @property
    def position(self):
        return (<volatile uint64_t *>&self.header.position)[0]

    @position.setter
    def position(self, uint64_t value):
        (<volatile uint64_t *>&self.header.position)[0] = value

    @property
    def confirmed_at(self):
        return self.header.confirmed_at

    @confirmed_at.setter
    def confirmed_at(self, double value):
        self.header.confirmed_at = value

    @property
    def ready(self):
        return self.header.ready != 0

    @ready.setter
    def ready(self, bint value):
        self.header.ready = value

    @property
    def draining(self):
        return self.header.draining != 0

    @draining.setter
    def draining(self, bint value):
        self.header.draining = value

    cpdef Block block(self, int index):
        cdef Block block = Block.__new__(Block)
        if not 0 <= index < self.block_count:
            raise IndexError(index)
        block.page = self
        block.index = index
        block.fields = &self.blocks[index]
        block.usage = self.usage + <Py_ssize_t>index * CELLS
        return block

    cpdef Cell cell(self, str name):
        cdef Cell cell = Cell.__new__(Cell)
        cell.page = self
        cell.index = cell_of(self.cells, hash64(name.encode()))
        cell.fields = &self.cells[cell.index]
        return cell

    def streams_of(self, Cell cell not None):
        cdef int64_t found = 0
        for index in range(self.block_count):
            found += self.usage[<Py_ssize_t>index * CELLS + cell.index].streams
        return found

    def bytes_of(self, Cell cell not None):
        cdef int64_t found = 0
        for index in range(self.block_count):
            found += self.usage[<Py_ssize_t>index * CELLS + cell.index].bytes
        return found


cdef class Block:
    def begin(self):
        """See page.pyi."""
        self.end()
        self.fields.started_at = time.time()
        self.fields.heartbeat = time.monotonic()

    def end(self):
        """See page.pyi."""
        cdef BlockFields *fields = self.fields
        cdef Py_ssize_t size = whole_pages(CELLS * sizeof(Usage))
        cdef Py_ssize_t first = <char *>self.page.usage - <char *>self.page.header
        fields.pid = fields.position = 0
        fields.connections = fields.in_flight = fields.streams = fields.mapped = fields.mapped_bytes = fields.overloaded = 0
        self.page.memory.madvise(mmap.MADV_REMOVE, first + self.index * size, size)  # zeros again, and no memory

    def count(self, str route, int status, int more=1):
        self.fields.requests[<int>ROUTE_OF[route]][<int>STATUS_OF.get(status, STATUSES - 1)] += more

    def observe(self, str route, double seconds):
        self.time(ROUTE_OF[route], seconds)

    cdef void time(self, int route, double seconds) noexcept:
        cdef int k = 0
        while k < TIMES - 1 and seconds > UPPER[k]:
            k += 1
        self.fields.times[route][k] += 1
        self.fields.seconds[route] += seconds

    def refuse_key(self, str why):
        self.fields.refused_keys[<int>KEY_REASON_OF[why]] += 1

    def shed(self, str route):
        self.fields.shed[<int>ROUTE_OF[route]] += 1

    def hold(self, Cell cell not None, *, int64_t bytes=0, int streams=0):
        self.usage[cell.index].bytes += bytes
        self.usage[cell.index].streams += streams
        self.fields.streams += streams

    def requests(self):
        return {
            (route, status): self.fields.requests[i][j]
            for i, route in enumerate(ROUTE_NAMES)
            for j, status in enumerate(STATUS_CODES)
            if self.fields.requests[<int>i][<int>j]
        }

    def durations(self):
        return {
            route: ([self.fields.times[i][k] for k in range(TIMES)], self.fields.seconds[i])
            for i, route in enumerate(ROUTE_NAMES)
            if self.fields.seconds[<int>i]
        }

    def refused_keys(self):
        return {why: self.fields.refused_keys[i] for i, why in enumerate(KEY_REASONS) if self.fields.refused_keys[<int>i]}

    def limited(self):
        return {what: self.fields.limited[i] for i, what in enumerate(LIMITS) if self.fields.limited[<int>i]}

    def sheds(self):
        return {route: self.fields.shed[i] for i, route in enumerate(ROUTE_NAMES) if self.fields.shed[<int>i]}

    @property
    def pid(self):
        return self.fields.pid

    @pid.setter
    def pid(self, uint64_t value):
        self.fields.pid = value

    @property
    def position(self):
        return self.fields.position

    @position.setter
    def position(self, uint64_t value):
        self.fields.position = value

    @property
    def started_at(self):
        return self.fields.started_at

    @started_at.setter
    def started_at(self, double value):
        self.fields.started_at = value

    @property
    def heartbeat(self):
        return self.fields.heartbeat

    @heartbeat.setter
    def heartbeat(self, double value):
        self.fields.heartbeat = value

    @property
    def connections(self):
        return self.fields.connections

    @connections.setter
    def connections(self, int64_t value):
        self.fields.connections = value

    @property
    def in_flight(self):
        return self.fields.in_flight

    @in_flight.setter
    def in_flight(self, int64_t value):
        self.fields.in_flight = value

    @property
    def streams(self):
        return self.fields.streams

    @streams.setter
    def streams(self, int64_t value):
        self.fields.streams = value

    @property
    def mapped(self):
        return self.fields.mapped

    @mapped.setter
    def mapped(self, int64_t value):
        self.fields.mapped = value

    @property
    def mapped_bytes(self):
        return self.fields.mapped_bytes

    @mapped_bytes.setter
    def mapped_bytes(self, int64_t value):
        self.fields.mapped_bytes = value

    @property
    def evaluations(self):
        return self.fields.evaluations

    @evaluations.setter
    def evaluations(self, uint64_t value):
        self.fields.evaluations = value

    @property
    def maps(self):
        return self.fields.maps

    @maps.setter
    def maps(self, uint64_t value):
        self.fields.maps = value

    @property
    def map_failures(self):
        return self.fields.map_failures

    @map_failures.setter
    def map_failures(self, uint64_t value):
        self.fields.map_failures = value

    @property
    def evictions(self):
        return self.fields.evictions

    @evictions.setter
    def evictions(self, uint64_t value):
        self.fields.evictions = value

    @property
    def overloaded(self):
        return self.fields.overloaded != 0

    @overloaded.setter
    def overloaded(self, bint value):
        self.fields.overloaded = value

    @property
    def slot(self):
        return self.fields.slot

    @slot.setter
    def slot(self, int64_t value):
        self.fields.slot = value


cdef class Cell:
    @property
    def behind_since(self):
        return self.fields.behind_since

    @behind_since.setter
    def behind_since(self, double value):
        self.fields.behind_since = value
