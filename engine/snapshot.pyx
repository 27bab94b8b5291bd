"""The edge between Python and the C core: loading, evaluating, answering.

    blob, {"country": "DE"}  ->  verified Image, Context  ->  outcome index  ->  Evaluation, or bytes

Everything that decides is in core/; here Python objects become a Context, and outcomes become Python objects or bytes.
INVARIANT: nothing below an Image is read before `image_open` has verified it, and the blob lives as long as the Snapshot.
"""

import mmap
import time
import zlib
from collections.abc import Mapping as AbstractMapping
from hashlib import blake2b
from types import MappingProxyType

import msgspec
import re2

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_CheckExact, PyDict_GetItemWithError
from cpython.list cimport PyList_GET_ITEM
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.math cimport isfinite
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset
from posix.time cimport CLOCK_REALTIME, clock_gettime, timespec

from engine.core cimport *

cdef extern from "Python.h":
    int _PyBytes_Resize(PyObject **bytes, Py_ssize_t size) except -1
    PyObject *new_bytes "PyBytes_FromStringAndSize"(const char *text, Py_ssize_t size) except NULL
    uint8_t *bytes_start "(uint8_t *)PyBytes_AS_STRING"(PyObject *bytes)
    void Py_XDECREF(PyObject *)
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    long long PyLong_AsLongLongAndOverflow(object number, int *overflow)
    void PyErr_Clear()

cdef enum:
    DIGEST_END = 56  # where what the digest covers begins
    MAX_NESTING = 32
    MAX_BODY = 16 << 20  # bytes
    MAX_REPLY = 32 << 20  # bytes of a batch reply
    MAX_EVALUATIONS = 2000000  # of a batch: flags times contexts
    MAX_KEPT = 16 << 20  # bytes that a list of a Python context may take; JSON has no room for so much

cdef tuple REASONS = ("STATIC", "DEFAULT", "TARGETING_MATCH", "SPLIT", "DISABLED")
cdef object decode_json = msgspec.json.decode
cdef object _OPENING = object()  # what only this module can make a Snapshot with


class SnapshotError(ValueError):
    """The blob is not a snapshot this engine can load: torn, altered, of another format version, or malformed."""


cdef class Evaluation:
    """The answer for one flag and one context. Immutable."""

    cdef readonly object value
    cdef readonly object variant
    cdef readonly str reason
    cdef readonly object error_code
    cdef readonly object metadata

    def __repr__(self):
        return (
            f"Evaluation(value={self.value!r}, variant={self.variant!r}, reason={self.reason!r}, "
            f"error_code={self.error_code!r}, metadata={dict(self.metadata)!r})"
        )

    def __eq__(self, other):
        if not isinstance(other, Evaluation):
            return NotImplemented
        cdef Evaluation that = other
        return (
            self.value == that.value
            and self.variant == that.variant
            and self.reason == that.reason
            and self.error_code == that.error_code
            and self.metadata == that.metadata
        )

    __hash__ = None


cdef Evaluation new_evaluation(object value, object variant, str reason, object error_code, object metadata):
    cdef Evaluation evaluation = Evaluation.__new__(Evaluation)
    evaluation.value = value
    evaluation.variant = variant
    evaluation.reason = reason
    evaluation.error_code = error_code
    evaluation.metadata = metadata
    return evaluation


cdef class _Workspace:
    """A Context and the Python strings its values point into."""

    cdef Context c
    cdef PyObject **held
    cdef Py_ssize_t held_count
    cdef Py_ssize_t left  # of MAX_KEPT, for the attribute that is being read

    def __cinit__(self, Snapshot snapshot):
        self.held = <PyObject **>PyMem_Calloc(snapshot.image.node_count, sizeof(PyObject *))
        if self.held == NULL or context_create(&self.c, &snapshot.image, match_regex, <void *>snapshot) != 0:
            raise MemoryError
        context_reset(&self.c, 0)

    def __dealloc__(self):
        self.release()
        PyMem_Free(self.held)
        context_free(&self.c)

    cdef void release(self) noexcept:
        cdef Py_ssize_t i
        for i in range(self.held_count):
            Py_DECREF(<object>self.held[i])
        self.held_count = 0

    cdef void hold(self, object text) noexcept:
        Py_INCREF(text)
        self.held[self.held_count] = <PyObject *>text
        self.held_count += 1

    cdef void *keep(self, Py_ssize_t n) except? NULL:
        """Memory for something in a list; NULL when the attribute has had its share: it may contain itself."""
        cdef void *taken
        if n > self.left:
            return NULL
        self.left -= n
        taken = arena_take(&self.c.arena, n)
        if taken == NULL:
            raise MemoryError
        memset(taken, 0, n)
        return taken


cdef class PreparedContext:
    """A context classified once, for one snapshot only."""

    cdef Snapshot snapshot
    cdef _Workspace workspace

    def __cinit__(self, *args, _Workspace of=None):
        if of is None:
            raise TypeError("a context is prepared by Snapshot.prepare")
        self.workspace = of


cdef int64_t wall_clock() noexcept:
    """Microseconds since the epoch."""
    cdef timespec now
    clock_gettime(CLOCK_REALTIME, &now)
    return now.tv_sec * 1000000 + now.tv_nsec // 1000


cdef int match_regex(void *owner, uint32_t regex, const uint8_t *text, uint32_t length) noexcept:
    try:
        return (<Snapshot>owner).searches[regex](PyBytes_FromStringAndSize(<const char *>text, length)) is not None
    except Exception:  # RE2 out of its memory: not a match
        return 0


# ---- Python values into a Context ----

cdef int take_value(_Workspace w, object thing, bint keep, Value *v, int depth, bint element) except -1:
    """Set *v from a Python object (docs/semantics.md, Values). Strings are held, or copied when in a list."""
    cdef int overflow
    cdef long long integer
    cdef Py_ssize_t size
    cdef const char *text
    memset(v, 0, sizeof(Value))
    if thing is None:
        v.kind = KIND_MISSING
    elif isinstance(thing, str):
        text = PyUnicode_AsUTF8AndSize(thing, &size)
        if text == NULL or size > 0x7FFFFFFF:
            PyErr_Clear()
            v.kind = KIND_UNUSABLE
            return 0
        v.kind = KIND_STRING
        v.length = <uint32_t>size
        v.text = <const uint8_t *>text
        if element:
            v.text = <const uint8_t *>w.keep(size + 1)
            if v.text == NULL:
                v.kind, v.length = KIND_UNUSABLE, 0
                return 0
            memcpy(<void *>v.text, text, size)
        else:
            w.hold(thing)
    elif thing is True:
        v.kind = KIND_TRUE
    elif thing is False:
        v.kind = KIND_FALSE
    elif isinstance(thing, int):
        integer = PyLong_AsLongLongAndOverflow(thing, &overflow)
        if overflow or integer > 9007199254740991 or integer < -9007199254740991:
            v.kind = KIND_UNUSABLE
        else:
            v.kind = KIND_NUMBER
            v.number = <double>integer
    elif isinstance(thing, float):
        v.number = <double>thing
        v.kind = KIND_NUMBER if isfinite(v.number) else KIND_UNUSABLE
    elif isinstance(thing, (list, tuple)):
        take_list(w, thing, keep, v, depth)
    elif isinstance(thing, AbstractMapping):
        take_object(w, thing, keep, v, depth)
    else:
        v.kind = KIND_UNUSABLE
    return 0


cdef int take_list(_Workspace w, object thing, bint keep, Value *v, int depth) except -1:
    cdef Py_ssize_t i, n = len(thing)
    cdef tuple items = ()
    if keep and n <= MAX_ELEMENTS:
        items = tuple(thing)
        n = len(items)  # what a subclass says of itself need not be so
    if n > MAX_ELEMENTS or depth >= MAX_NESTING:
        v.kind = KIND_UNUSABLE
        return 0
    v.kind = KIND_LIST
    v.length = <uint32_t>n
    if keep and n:
        v.elements = <Value *>w.keep(n * sizeof(Value))
        if v.elements == NULL:
            v.kind = KIND_UNUSABLE
            return 0
        for i in range(n):
            take_value(w, items[i], True, &v.elements[i], depth + 1, True)
    return 0


cdef int take_object(_Workspace w, object thing, bint keep, Value *v, int depth) except -1:
    cdef Py_ssize_t i = 0, n = len(thing)
    if n > 0x7FFFFFFF or depth >= MAX_NESTING:
        v.kind = KIND_UNUSABLE
        return 0
    v.kind = KIND_OBJECT
    v.length = <uint32_t>n
    if keep and depth and n:
        v.elements = <Value *>w.keep(2 * n * sizeof(Value))
        if v.elements == NULL:
            v.kind = KIND_UNUSABLE
            return 0
        members = dict(thing)
        for name, member in members.items():
            if i == n:
                break
            if isinstance(name, str):
                take_value(w, name, False, &v.elements[2 * i], depth + 1, True)
                take_value(w, member, True, &v.elements[2 * i + 1], depth + 1, True)
            i += 1
    return 0


cdef object member_of(object mapping, str name):
    """mapping[name], or None: missing."""
    cdef PyObject *found
    if PyDict_CheckExact(mapping):
        found = PyDict_GetItemWithError(mapping, name)
        return <object>found if found != NULL else None
    if isinstance(mapping, AbstractMapping):
        return mapping.get(name)
    return None


cdef class Snapshot:
    """All flags of one environment at one version, ready to evaluate; docs/snapshot.md."""

    cdef Image image
    cdef Py_buffer view
    cdef bint viewing
    cdef Counts counts
    cdef readonly uint64_t evaluated
    cdef uint32_t visible_count  # flags that are client-visible
    cdef object source  # what holds the bytes
    cdef dict indexes  # flag key -> index; None until Python asks by key: a worker with many snapshots spares it
    cdef list names  # node -> name of its last step
    cdef list answers  # outcome -> Evaluation, made when first asked
    cdef list searches  # regex -> search
    cdef list pool  # Workspaces not in use
    cdef object metadata
    cdef Evaluation not_found, no_key
    cdef bytes timed  # predicate -> does it read NOW
    cdef str digest_text
    cdef dict chunks  # of the source map, decoded

    def __cinit__(self, *args):
        if args != (_OPENING,):
            raise TypeError("a snapshot is loaded by Snapshot.from_bytes or Snapshot.map")

    def __dealloc__(self):
        counts_free(&self.counts)
        if self.viewing:
            PyBuffer_Release(&self.view)

    @classmethod
    def from_bytes(cls, bytes blob not None):
        """Load a snapshot. Raises SnapshotError."""
        return open_snapshot(blob)

    @classmethod
    def map(cls, path):
        """Load a snapshot from a file, mapped, not read. The file must not be changed in place. Raises SnapshotError, OSError."""
        with open(path, "rb") as file:
            try:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except ValueError as error:
                raise SnapshotError("not a snapshot: the file is empty") from error
        return open_snapshot(mapped)

    # ---- what it is ----

    cdef str text(self, uint32_t at, uint32_t length):
        return PyUnicode_DecodeUTF8(<const char *>self.image.text + at, length, NULL)

    cdef str shown(self, uint32_t at, uint32_t length):
        """For people: of a text that nothing has verified to be UTF-8."""
        return PyUnicode_DecodeUTF8(<const char *>self.image.text + at, length, b"replace")

    @property
    def environment(self):
        return self.text(self.image.header.environment_at, self.image.header.environment_length)

    @property
    def flag_set_id(self):
        return self.text(self.image.header.flag_set_at, self.image.header.flag_set_length)

    @property
    def version(self):
        return self.image.header.version

    @property
    def digest(self):
        return self.digest_text

    @property
    def size(self):
        return self.image.header.length

    @property
    def flag_keys(self):
        return tuple(self.by_key())

    def __contains__(self, flag_key):
        return flag_key in self.by_key()

    def __len__(self):
        return self.image.flag_count

    def __repr__(self):
        return f"<Snapshot {self.flag_set_id or self.environment} version {self.version}, {len(self)} flags>"

    # ---- Python values in, Evaluations out ----

    def evaluate(self, flag_key, context, *, now=None):
        """One flag for one context; see snapshot.pyi."""
        cdef PyObject *found = PyDict_GetItemWithError(self.by_key(), flag_key)
        cdef _Workspace w
        cdef uint32_t flag, outcome
        if found == NULL:
            if not isinstance(flag_key, str):
                raise TypeError(f"a flag key is a str, not {type(flag_key).__name__}")
            if type(context) is not PreparedContext:
                check_context(context)
            return self.not_found
        flag = <uint32_t><long><object>found
        if type(context) is PreparedContext:
            w = self.workspace_of(<PreparedContext>context, now)
            return self.evaluation(flag, decide(&w.c, flag))
        check_context(context)
        w = self.take(now)
        try:
            self.fill(w, context, self.image.flag_nodes + self.image.flags[flag].first_node, self.image.flags[flag].node_count)
            outcome = decide(&w.c, flag)
        finally:
            self.give(w)
        return self.evaluation(flag, outcome)

    def evaluate_all(self, context, *, now=None):
        """All flags for one context, from one snapshot; see snapshot.pyi."""
        cdef _Workspace w
        if type(context) is PreparedContext:
            return self.all_of(self.workspace_of(<PreparedContext>context, now))
        check_context(context)
        w = self.take(now)
        try:
            self.fill(w, context, NULL, self.image.node_count)
            return self.all_of(w)
        finally:
            self.give(w)

    cdef dict all_of(self, _Workspace w):
        cdef dict evaluations = {}
        cdef uint32_t i, outcome
        fill_matrix(&w.c, 0, self.image.word_count)
        for key in self.by_key():
            i = <uint32_t>len(evaluations)
            if self.image.flags[i].bit_count:
                outcome = decide_in_matrix(&w.c, i)
            else:
                outcome = self.image.flags[i].first_outcome
            if self.image.depends:
                remember(&w.c, i, outcome)
            evaluations[key] = self.evaluation(i, outcome)
        return evaluations

    def prepare(self, context):
        """Classify a context once; see snapshot.pyi. What it reads of `context` is copied: later changes have no effect."""
        check_context(context)
        cdef PreparedContext prepared = PreparedContext.__new__(PreparedContext, of=_Workspace(self))
        cdef uint32_t i
        prepared.snapshot = self
        context_reset(&prepared.workspace.c, self.microseconds(None))
        self.fill(prepared.workspace, context, NULL, self.image.node_count)
        for i in range(self.image.slot_count):
            class_of(&prepared.workspace.c, <uint16_t>i)
        for i in range(self.image.predicate_count):  # now, so that no regex runs between two steps of a later evaluation
            truth_of(&prepared.workspace.c, i)
        return prepared

    # ---- JSON in, JSON out ----

    def evaluate_json(self, bytes body not None, flag_key=None, *, bint client=False, now=None, stale=None):
        """An OFREP request in, an OFREP answer out; see snapshot.pyi."""
        cdef Options options
        self.set_options(&options, client, stale)
        if flag_key is None:
            return self.answer(body, None, &options, now)[1]
        return self.answer_single(body, flag_key, &options, now)

    def evaluate_json_if_changed(self, bytes body not None, etag, *, bint client=False, now=None, stale=None):
        """The bulk answer and its ETag, or no answer; see snapshot.pyi."""
        cdef Options options
        self.set_options(&options, client, stale)
        return self.answer(body, etag or "", &options, now)

    cdef int set_options(self, Options *o, bint client, object stale) except -1:
        o.client, o.stale, o.age = client, stale is not None, 0
        o.counts = &self.counts if self.counts.counters != NULL else NULL
        if stale is not None:
            if not 0 <= stale <= 9007199254740991:
                raise ValueError(f"`stale` is in whole seconds, within 0 … 2^53 - 1, not {stale}")
            o.age = stale
        return 0

    cdef tuple answer(self, bytes body, str etag, const Options *options, object now):
        """(ETag, bulk answer); the answer is None if `etag` names it. An ETag is only worked out where `etag` is not None."""
        cdef _Workspace w = self.take(now)
        cdef Reader r
        cdef uint8_t *to
        cdef PyObject *reply
        cdef str own = ""
        try:
            if PyBytes_GET_SIZE(body) > MAX_BODY:
                return own, too_large()
            if read_request(&r, <const uint8_t *>PyBytes_AS_STRING(body), PyBytes_GET_SIZE(body), &w.c) != 0:
                return own, failure(&r)
            if etag is not None:
                kind = ("c" if options.client else "") + ("s" if options.stale else "")
                own = f'"{self.digest_text[:16]}{context_digest(&w.c):016x}{kind}"'
                if etag_matches(etag, own):
                    return own, None
            reply = new_bytes(NULL, self.image.answer_bound + self.image.header.metadata_length + ENTRY_ROOM)
            to = bytes_start(reply)
            fill_matrix(&w.c, 0, self.image.word_count)
            to = copy_word(to, b'{"flags":[')
            to = copy_all_entries(&w.c, options, to)
            if (to - 1)[0] == c",":
                to -= 1
            to = copy_word(to, b"]")
            to = copy_metadata(&self.image, options, to)
        finally:
            self.give(w)
        self.evaluated += self.visible_count if options.client else self.image.flag_count
        return own, finish(reply, to - bytes_start(reply))

    cdef bytes answer_single(self, bytes body, object flag_key, const Options *options, object now):
        cdef Reader r
        cdef uint8_t *to
        cdef uint32_t flag
        cdef _Workspace w
        cdef PyObject *reply
        flag = self.flag_of(flag_key)
        if flag == NONE16 or (options.client and not self.image.flags[flag].bits & FLAG_CLIENT_VISIBLE):
            return flag_not_found(flag_key)
        w = self.take(now)
        try:
            if PyBytes_GET_SIZE(body) > MAX_BODY:
                return too_large(self.text(self.image.flags[flag].key_at, self.image.flags[flag].key_length))
            if read_request(&r, <const uint8_t *>PyBytes_AS_STRING(body), PyBytes_GET_SIZE(body), &w.c) != 0:
                return failure(&r, &self.image, flag)
            reply = new_bytes(NULL, self.longest(flag) + self.image.header.metadata_length + ENTRY_ROOM)
            to = copy_single(&self.image, flag, decide(&w.c, flag), options, bytes_start(reply))
        finally:
            self.give(w)
        self.evaluated += 1
        return finish(reply, to - bytes_start(reply))

    cdef uint32_t flag_of(self, object key) noexcept:
        """Its index, or NONE16."""
        cdef Py_ssize_t size
        cdef const char *text
        if not isinstance(key, str) or PyUnicode_GET_LENGTH(key) > 256:
            return NONE16
        text = PyUnicode_AsUTF8AndSize(key, &size)
        if text == NULL:  # half of a surrogate pair
            PyErr_Clear()
            return NONE16
        return find_flag(&self.image, <const uint8_t *>text, <uint32_t>size)

    cdef size_t longest(self, uint32_t flag) noexcept:
        """Bytes of the flag's longest fragment."""
        cdef const Flag *f = &self.image.flags[flag]
        cdef size_t n = f.key_length
        cdef uint32_t i
        for i in range(f.outcome_count):
            n = max(n, self.image.outcomes[f.first_outcome + i].length)
        return n

    def evaluate_batch(self, bytes body not None, *, encoding="json", bint client=False, now=None, stale=None):
        """Many contexts, one snapshot; docs/batch.md."""
        if encoding not in ("json", "msgpack"):
            raise ValueError(f"encoding is `json` or `msgpack`, not {encoding!r}")
        cdef Options options
        self.set_options(&options, client, stale)
        if PyBytes_GET_SIZE(body) > MAX_BODY:
            return too_large()
        cdef int64_t moment = self.microseconds(now)
        cdef _Workspace w = self.take(now)
        cdef Batch b
        cdef Counts counts
        cdef bytes reply
        memset(&b, 0, sizeof(Batch))
        memset(&counts, 0, sizeof(Counts))
        try:
            reply = self.batch(&b, w, body, &options, &counts, moment)
        finally:
            counts_free(&counts)
            arena_free(&b.arena)
            self.give(w)
        return to_msgpack(reply) if encoding == "msgpack" and not reply.startswith(b'{"errorCode"') else reply

    cdef bytes batch(self, Batch *b, _Workspace w, bytes body, Options *options, Counts *counts, int64_t now):
        """`counts`: of this batch alone, where it may be refused when some of it is counted."""
        cdef PyObject *reply
        cdef uint8_t *start
        cdef size_t used, row, room
        cdef uint32_t i, flag_count
        if read_batch(b, <const uint8_t *>PyBytes_AS_STRING(body), PyBytes_GET_SIZE(body), &self.image, options.client) != 0:
            return failure(&b.reader, NULL, 0, b.failed_context)
        if <uint64_t>b.context_count * (b.flag_count if b.flags != NULL else self.image.flag_count) > MAX_EVALUATIONS:
            return too_many_evaluations()
        row = context_bound(b, &self.image) + ENTRY_ROOM
        room = ENTRY_ROOM + self.image.header.metadata_length + row
        if b.compact:
            room += dictionary_bound(b, &self.image)
        if room > MAX_REPLY:
            return reply_too_large()
        if options.counts != NULL and room + row * b.context_count > MAX_REPLY:
            if counts_create(counts, &self.image) != 0:
                raise MemoryError
            options.counts = counts
        room = min(room + (row * b.context_count if b.compact else 0), <size_t>MAX_REPLY)
        reply = new_bytes(NULL, room)
        start = bytes_start(reply)
        if b.compact:
            used = copy_dictionary(b, &self.image, options, start) - start
        else:
            used = copy_word(start, b'{"results":[') - start
        for i in range(b.context_count):
            if used + row + self.image.header.metadata_length + ENTRY_ROOM > room:
                room = max(2 * room, used + row + self.image.header.metadata_length + ENTRY_ROOM)
                if used > MAX_REPLY:
                    Py_XDECREF(reply)
                    return reply_too_large()
                _PyBytes_Resize(&reply, room)
                start = bytes_start(reply)
            context_reset(&w.c, now)
            if read_batch_context(b, &w.c) != 0:
                Py_XDECREF(reply)
                return failure(&b.reader, NULL, 0, i)
            if b.compact:
                used = copy_compact_row(&w.c, b, options, start + used) - start
            else:
                used = copy_full_row(&w.c, b, options, start + used) - start
            start[used] = c","
            used += 1
        if b.context_count:
            used -= 1
        start[used] = c"]"
        used = copy_metadata(&self.image, options, start + used + 1) - start
        if counts.counters != NULL:
            add_counts(&self.counts, counts, &self.image)
        flag_count = self.visible_count if options.client else self.image.flag_count
        self.evaluated += <uint64_t>b.context_count * (b.flag_count if b.flags != NULL else flag_count)
        return finish(reply, used)

    # ---- counts ----

    def start_counting(self):
        """Count what the calls above answer; see snapshot.pyi."""
        if self.counts.counters == NULL and counts_create(&self.counts, &self.image) != 0:
            raise MemoryError

    def take_counts(self):
        """What was counted since the last call; see snapshot.pyi."""
        cdef uint32_t flag, k
        cdef const Flag *f
        cdef uint64_t n
        cdef dict counted = {}
        if self.counts.counters == NULL:
            return []
        settle(&self.counts, &self.image)
        for flag in range(self.image.flag_count):
            f = &self.image.flags[flag]
            for k in range(f.first_outcome, f.first_outcome + f.outcome_count):
                n = take_counter(&self.counts, k)
                if n:
                    of = self.key_of(flag), self.variant(flag, k)
                    counted[of] = counted.get(of, 0) + n
            n = take_counter(&self.counts, error_counter(&self.image, flag)) if f.bit_count else 0
            if n:
                of = self.key_of(flag), None
                counted[of] = counted.get(of, 0) + n
        return [(key, variant, n) for (key, variant), n in counted.items()]

    cdef object variant(self, uint32_t flag, uint32_t outcome):
        """Its name, or None. Not by `evaluation`, which would read the value too."""
        cdef const uint8_t *quoted = NULL
        cdef uint32_t n = quoted_variant(&self.image, &self.image.flags[flag], &self.image.outcomes[outcome], &quoted)
        try:
            return decode_json((<const char *>quoted)[:n], type=str) if n else None
        except ValueError:  # a snapshot whose digest is right and whose compiler was not
            return None

    # ---- for people ----

    def explain(self, str flag_key not None, context, *, now=None):
        """Why, and why not; see snapshot.pyi."""
        from engine.explain import explain

        check_context(context)
        return explain(self, flag_key, context, time.time_ns() // 1_000_000 if now is None else now)

    def describe(self):
        """What is in the snapshot; see snapshot.pyi."""
        from engine.describe import describe

        return describe(self)

    def _source_map(self, str flag_key not None):
        """The flag as it was written: {"flag": …, "ids": […]}, docs/snapshot.md. Raises KeyError, SnapshotError."""
        cdef uint32_t flag = self.by_key()[flag_key]
        try:
            return self.chunk(self.image.flags[flag].chunk)[flag_key]
        except (KeyError, TypeError) as error:
            raise SnapshotError(f"the source map has no flag `{flag_key}`") from error

    def _in_ids(self, str ids not None, path, str text not None):
        """Is the text in the named id list? Raises SnapshotError."""
        cdef bytes encoded = text.encode()
        cdef const uint8_t *p = <const uint8_t *>PyBytes_AS_STRING(encoded)
        cdef uint32_t slot, n = <uint32_t>len(encoded)
        try:
            listed = self.chunk(0)["ids"][ids]
            slot, classes = listed["slot"], listed["classes"]
        except (KeyError, TypeError, OverflowError) as error:
            raise SnapshotError(f"the source map has no id list `{ids}`") from error
        if slot >= self.image.slot_count or self.image.slots[slot].via != VIA_ID:
            raise SnapshotError(f"the source map has no id list `{ids}`")
        return id_class(&self.image, &self.image.slots[slot], p, n, c_hash64(p, n)) in classes

    def _layout(self):
        """The records that describe.py puts into words, as plain lists and dicts."""
        cdef const Image *im = &self.image
        cdef uint32_t i, k, n
        cdef const Slot *s
        cdef const Test *t
        cdef const Flag *f
        cdef const TreeNode *tree
        slots, tests, flags = [], [], []
        for i in range(im.slot_count):
            s = &im.slots[i]
            strings = {}
            for k in range(1 << s.dictionary_bits if s.dictionary_bits else 0):
                if im.dictionary[s.first_entry + k].target != NONE16:
                    n = s.first_entry + k
                    strings[self.shown(im.dictionary[n].at, im.dictionary[n].length)] = im.dictionary[n].target
            points = [
                (im.points[k].hi, im.points[k].lo, self.shown(im.points[k].at, im.points[k].length))
                for k in range(s.first_point, s.first_point + s.point_count)
            ]
            slots.append({
                "path": self.path(s.node),
                "via": s.via,
                "classes": s.class_count,
                "kinds": {
                    "missing": s.class_missing, "unusable": s.class_unusable, "false": s.class_false, "true": s.class_true,
                    "string": s.class_string, "list": s.class_list, "object": s.class_object,
                },
                "strings": strings,
                "points": points,
                "regions": [im.regions[s.first_region + k] for k in range(2 * s.point_count + 1)],
                "ids": im.id_tables[s.id_table].count if s.via == VIA_ID else 0,
                "words": s.word_count,
            })
        for i in range(im.test_count):
            t = &im.tests[i]
            if t.kind == TEST_CLASS:
                accepted = [k for k in range(slots[t.subject]["classes"]) if im.class_sets[t.first + (k >> 6)] >> (k & 63) & 1]
            elif t.kind == TEST_FLAG:
                accepted = [im.gate_variants[t.first + k] for k in range(t.count)]
            else:
                accepted = []
            tests.append((t.kind, t.subject, accepted))
        for i in range(im.flag_count):
            f = &im.flags[i]
            tree = im.trees + f.first_tree
            flags.append({
                "conjunctions": f.bit_count,
                "outcomes": f.outcome_count,
                "prerequisites": f.prerequisite_count,
                "type": f.type,
                "client_visible": bool(f.bits & FLAG_CLIENT_VISIBLE),
                "tests": [im.flag_tests[f.first_test + k] for k in range(f.test_count)],
                "tree": [(tree[k].test, tree[k].conjunction, tree[k].yes, tree[k].no) for k in range(f.tree_count)],
                "fragments": [self.shown(im.outcomes[f.first_outcome + k].at, im.outcomes[f.first_outcome + k].length)
                              for k in range(f.outcome_count)],
            })
        return {
            "sections": [im.header.sections[i].length for i in range(<uint32_t>SECTION_COUNT)],
            "attributes": [".".join(self.path(i)) for i in range(1, im.node_count)],
            "predicates": im.predicate_count,
            "words": im.word_count,
            "slots": slots,
            "tests": tests,
            "flags": flags,
        }

    cdef tuple path(self, uint32_t node):
        steps = []
        while node:
            steps.append(self.names[node])
            node = self.image.nodes[node].parent
        return tuple(reversed(steps))

    cdef object chunk(self, uint32_t index):
        cdef const SourceChunk *c
        if index not in self.chunks:
            if index >= self.image.chunk_count:
                raise SnapshotError("the source map is broken")
            c = &self.image.chunks[index]
            try:
                unpacked = zlib.decompressobj().decompress(self.image.source_map[c.offset : c.offset + c.length], c.raw_length + 1)
                if len(unpacked) != c.raw_length:
                    raise ValueError("another length than it says")
                self.chunks[index] = decode_json(unpacked)
            except (zlib.error, ValueError, RecursionError) as error:
                raise SnapshotError("the source map is broken") from error
        return self.chunks[index]

    # ---- inside ----

    cdef int64_t microseconds(self, object now) except? -1:
        cdef long long milliseconds
        if now is None:
            return wall_clock() if self.image.timed else 0
        milliseconds = now
        if not -8640000000000000 <= milliseconds <= 8640000000000000:
            raise ValueError("`now` is in milliseconds since the epoch, within ±8.64e15")
        return milliseconds * 1000

    cdef _Workspace take(self, object now):
        cdef int64_t moment = self.microseconds(now) if self.image.timed or now is not None else 0
        cdef _Workspace w = self.pool.pop() if self.pool else _Workspace(self)
        context_reset(&w.c, moment)
        return w

    cdef void give(self, _Workspace w):
        w.release()
        if len(self.pool) < 4:
            arena_trim(&w.c.arena)
            self.pool.append(w)

    cdef _Workspace workspace_of(self, PreparedContext prepared, object now):
        cdef _Workspace w = prepared.workspace
        cdef int64_t moment
        cdef uint32_t i
        if prepared.snapshot is not self:
            raise ValueError("the context was prepared for another snapshot")
        if self.image.timed or now is not None:
            moment = self.microseconds(now)
            if moment != w.c.now and self.image.timed:
                for i in range(self.image.slot_count):
                    if self.image.slots[i].via == VIA_NOW:
                        w.c.classes[i] = NONE16
                for i in range(self.image.predicate_count):
                    if self.timed[i]:
                        w.c.truths[i] = UNASKED
                context_undecide(&w.c)
            w.c.now = moment
        return w

    cdef int fill(self, _Workspace w, object context, const uint16_t *nodes, uint32_t count) except -1:
        """Set the values of these nodes (NULL: of all) from a mapping."""
        cdef uint32_t i, node
        cdef const Node *n
        for i in range(count):
            node = nodes[i] if nodes != NULL else i
            if node == 0:
                continue
            n = &self.image.nodes[node]
            thing = self.find(context, node)
            if thing is not None:
                w.left = MAX_KEPT
                take_value(w, thing, n.keeps_elements, &w.c.values[node], 0, False)
        return 0

    cdef object find(self, object context, uint32_t node):
        cdef uint32_t parent = self.image.nodes[node].parent
        if parent:
            context = self.find(context, parent)
        return member_of(context, <str>PyList_GET_ITEM(self.names, node))

    cdef str key_of(self, uint32_t flag):
        return self.text(self.image.flags[flag].key_at, self.image.flags[flag].key_length)

    cdef dict by_key(self):
        if self.indexes is None:
            self.indexes = self.indexed()
        return self.indexes

    cdef dict indexed(self):
        return {self.key_of(i): i for i in range(self.image.flag_count)}

    cdef Evaluation evaluation(self, uint32_t flag, uint32_t outcome):
        cdef const Outcome *o
        if outcome == NO_OUTCOME:
            return self.no_key
        if self.answers is None:
            self.answers = [None] * self.image.outcome_count
        known = <object>PyList_GET_ITEM(self.answers, outcome)
        if known is not None:
            return <Evaluation>known
        o = &self.image.outcomes[outcome]
        try:
            entry = decode_json((<const char *>self.image.text)[o.at : o.at + o.length])
            metadata = self.metadata
            if "metadata" in entry:
                metadata = MappingProxyType({**self.metadata, **entry["metadata"]})
            known = new_evaluation(entry.get("value"), entry.get("variant"), REASONS[o.reason], None, metadata)
        except (ValueError, TypeError, RecursionError):  # a snapshot whose digest is right and whose compiler was not
            return new_evaluation(None, None, "ERROR", "GENERAL", self.metadata)
        if not self.image.flags[flag].bits & FLAG_OBJECT:  # an object's value is the caller's to change: made anew each time
            self.answers[outcome] = known
        return <Evaluation>known


cdef Snapshot open_snapshot(object source):
    cdef Snapshot s = Snapshot.__new__(Snapshot, _OPENING)
    cdef const char *why
    cdef uint32_t i, k, regexes = 0
    cdef const Op *op
    PyObject_GetBuffer(source, &s.view, PyBUF_SIMPLE)
    s.viewing = True
    s.source = source
    cdef const uint8_t *blob = <const uint8_t *>s.view.buf
    cdef uint64_t length = s.view.len
    if length >= 16 and blob[:8] == b"BURGEE\r\n" and (<const Header *>blob).format != FORMAT_VERSION:
        raise SnapshotError(f"format version {(<const Header *>blob).format}; this engine reads {FORMAT_VERSION}")
    if length < DIGEST_END or blob[:8] != b"BURGEE\r\n":
        raise SnapshotError("not a snapshot")
    with memoryview(source) as whole:
        digest = blake2b(whole[DIGEST_END:], digest_size=32).digest()
    if digest != blob[24:DIGEST_END]:
        raise SnapshotError("the digest does not match: torn or altered")
    why = image_open(&s.image, blob, length)
    if why != NULL:
        raise SnapshotError(why.decode())
    try:
        s.digest_text = digest.hex()
        distinct = len(s.indexed())
        s.names = [s.text(s.image.nodes[i].at, s.image.nodes[i].length) for i in range(s.image.node_count)]
        metadata = s.text(s.image.header.metadata_at, s.image.header.metadata_length)
        s.metadata = MappingProxyType(dict(decode_json("{" + metadata + "}")))
        s.text(s.image.header.environment_at, s.image.header.environment_length)
        s.text(s.image.header.flag_set_at, s.image.header.flag_set_length)
    except (ValueError, TypeError, RecursionError) as error:
        raise SnapshotError("a name is malformed") from error
    if distinct != s.image.flag_count:
        raise SnapshotError("a flag is there twice")
    for i in range(s.image.flag_count):
        s.visible_count += s.image.flags[i].bits & FLAG_CLIENT_VISIBLE
    s.searches = []
    timed = bytearray(s.image.predicate_count)
    for i in range(s.image.predicate_count):
        for k in range(s.image.predicates[i].op_count):
            op = &s.image.ops[s.image.predicates[i].first_op + k]
            if op.via == VIA_NOW or (op.kind == OP_CLASS_IS and s.image.slots[op.a].via == VIA_NOW):
                timed[i] = 1
            elif op.kind == OP_MATCHES:
                s.searches.append(compile_regex((<const char *>s.image.text)[op.a : op.a + op.b]))
            elif op.kind == OP_ORDER_OPERANDS and s.image.ops[s.image.predicates[i].first_op + op.a].via == VIA_NOW:
                timed[i] = 1
    s.timed = bytes(timed)
    s.pool = []
    s.chunks = {}
    s.not_found = new_evaluation(None, None, "ERROR", "FLAG_NOT_FOUND", s.metadata)
    s.no_key = new_evaluation(None, None, "ERROR", "TARGETING_KEY_MISSING", s.metadata)
    return s


cdef object compile_regex(bytes pattern):
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 8 << 20
    try:
        return re2.compile(pattern, options).search
    except re2.error as error:
        raise SnapshotError("a regex does not compile") from error


cdef int check_context(object context) except -1:
    if not PyDict_CheckExact(context) and not isinstance(context, AbstractMapping):
        raise TypeError(f"a context is a mapping or prepared, not {type(context).__name__}")
    return 0


cdef bytes finish(PyObject *reply, size_t n):
    """A reply of `new_bytes`, cut to its length; takes over the reference."""
    _PyBytes_Resize(&reply, n)
    result = <object>reply
    Py_DECREF(result)
    return <bytes>result


cdef bytes failure(const Reader *r, const Image *image=NULL, uint32_t flag=0, uint32_t context=NONE32):
    """`image`: NULL where the answer is not about one flag."""
    cdef uint8_t text[1024]  # a flag's key has at most 256 bytes, and the reasons are short
    cdef const uint8_t *key = NULL
    cdef uint32_t n = 0
    if image != NULL:
        key, n = image.text + image.flags[flag].key_at, image.flags[flag].key_length
    cdef uint8_t *end = copy_failure(r, key, n, text)
    cdef bytes reply = (<const char *>text)[: end - text]
    if context != NONE32:
        reply = reply.replace(b'"errorDetails":"', b'"errorDetails":"contexts[%d]: ' % context, 1)
    return reply


cdef bytes flag_not_found(object flag_key):
    if not isinstance(flag_key, str):
        raise TypeError(f"a flag key is a str, not {type(flag_key).__name__}")
    key = flag_key.encode("utf-8", "replace").decode()
    return msgspec.json.encode({"key": key, "errorCode": "FLAG_NOT_FOUND", "errorDetails": "no such flag"})


cdef bytes too_large(object flag_key=None):
    reply = {"errorCode": "PARSE_ERROR", "errorDetails": "a body of more than 16 MiB"}
    return msgspec.json.encode({"key": flag_key, **reply} if flag_key is not None else reply)


cdef bytes too_many_evaluations():
    details = "more than 2000000 evaluations, contexts times flags: send fewer contexts, or name fewer flags"
    return msgspec.json.encode({"errorCode": "INVALID_CONTEXT", "errorDetails": details})


cdef bytes reply_too_large():
    return msgspec.json.encode(
        {
            "errorCode": "INVALID_CONTEXT",
            "errorDetails": "the reply would be more than 32 MiB: send fewer contexts, name the flags, or ask for `compact`",
        }
    )


cdef bytes to_msgpack(bytes reply):
    cdef Reader r
    cdef Arena arena
    cdef PyObject *packed
    cdef uint8_t *end
    memset(&arena, 0, sizeof(Arena))
    open_reply(&r, <const uint8_t *>PyBytes_AS_STRING(reply), PyBytes_GET_SIZE(reply), &arena)
    packed = new_bytes(NULL, transcode_bound(PyBytes_GET_SIZE(reply)))
    end = transcode(&r, bytes_start(packed))
    arena_free(&arena)
    if end == NULL:
        Py_XDECREF(packed)
        if r.error == READ_MEMORY:
            raise MemoryError
        raise SnapshotError("a fragment is malformed")  # its digest is right and its compiler was not
    return finish(packed, end - bytes_start(packed))


cdef bint etag_matches(str header, str own):
    """If-None-Match, weak comparison (RFC 9110, section 13.1.2)."""
    if header.strip() == "*":
        return True
    return any(tag.strip().removeprefix("W/") == own for tag in header.split(","))


def error_code_of(bytes reply not None):
    """The OpenFeature error code of an answer that failed as a whole, else None."""
    if not reply.startswith((b'{"errorCode":"', b'{"key":"')) or b'"errorCode":"' not in reply:
        return None
    return decode_json(reply).get("errorCode")


def hash64(bytes data not None):
    """XXH64, seed 0."""
    return c_hash64(<const uint8_t *>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))


def bucket_of(str bucketing_key not None, str salt not None):
    """0 … 99,999; docs/semantics.md."""
    return c_bucket_of(hash64(bucketing_key.encode()), hash64(salt.encode()))


def id_table(list texts not None, bytes classes not None):
    """The id table of these distinct texts, for the compiler: (bits, starts, tags, classes), sections of core/format.h as bytes.

    `classes` holds one little-endian uint16 per text. Raises ValueError where many texts have nearly the same hash.
    """
    cdef Py_ssize_t n = len(texts), i
    cdef int bits = max(1, min(24, (n // 8).bit_length()))
    if len(classes) != 2 * n:
        raise ValueError("one class per text")
    cdef bytearray starts = bytearray(4 * ((1 << bits) + 1)), tags = bytearray(8 * n), sorted_classes = bytearray(2 * n)
    cdef uint32_t *start = <uint32_t *><char *>starts
    cdef uint64_t *tag = <uint64_t *><char *>tags
    cdef uint16_t *to = <uint16_t *><char *>sorted_classes
    cdef const uint16_t *given = <const uint16_t *>PyBytes_AS_STRING(classes)
    cdef bytes text
    cdef uint64_t hash, second
    cdef uint32_t at, most = MAX_PROBE
    for i in range(n):  # how many in each bucket, kept one place on
        text = texts[i]
        start[(c_hash64(<const uint8_t *>PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text)) >> (64 - bits)) + 1] += 1
    for i in range(1 << bits):
        if start[i + 1] > most:
            raise ValueError("too many ids in one bucket")
        start[i + 1] += start[i]
    cdef bytearray ends = bytearray(starts)
    cdef uint32_t *end = <uint32_t *><char *>ends
    for i in range(n):  # each into its bucket, by insertion
        text = texts[i]
        hash = c_hash64(<const uint8_t *>PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text)) >> (64 - bits)
        second = hash64_seeded(<const uint8_t *>PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text), 0x9E3779B97F4A7C15)
        at = end[hash]
        end[hash] += 1
        while at > start[hash] and tag[at - 1] > second:
            tag[at] = tag[at - 1]
            to[at] = to[at - 1]
            at -= 1
        tag[at] = second
        to[at] = given[i]
    return bits, bytes(starts), bytes(tags), bytes(sorted_classes)
