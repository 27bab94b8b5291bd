"""The C core as Cython sees it: only what snapshot.pyx touches. The layout is core/format.h."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from "batch.h" nogil:
    ctypedef struct Extent:
        uint32_t offset, length

    ctypedef struct Header:
        uint32_t format
        uint64_t length
        uint8_t digest[32]
        uint64_t version
        uint32_t bit_count
        uint32_t environment_at, environment_length
        uint32_t flag_set_at, flag_set_length
        uint32_t metadata_at, metadata_length
        Extent sections[35]

    ctypedef struct Node:
        uint32_t at, length
        uint16_t parent  # 0xFFFF: the root
        uint8_t keeps_elements

    ctypedef struct Entry:
        uint32_t at, length
        uint16_t target  # NONE16: empty

    ctypedef struct Point:
        uint64_t hi, lo
        uint32_t at, length

    ctypedef struct Slot:
        uint16_t node
        uint8_t via, dictionary_bits
        uint16_t class_count
        uint16_t class_missing, class_unusable, class_false, class_true, class_string, class_list, class_object
        uint32_t first_point, point_count, first_region, first_entry, id_table, word_count

    ctypedef struct IdTable:
        uint32_t count

    ctypedef struct Predicate:
        uint32_t first_op, op_count

    ctypedef struct Op:
        uint8_t kind, via
        uint32_t a, b

    ctypedef struct Test:
        uint16_t kind, subject
        uint32_t first, count

    ctypedef struct TreeNode:
        uint16_t test, conjunction, yes, no

    ctypedef struct Flag:
        uint32_t key_at
        uint16_t key_length
        uint8_t bits, type
        uint32_t bit_count, first_node, node_count, first_test, test_count, first_tree, tree_count
        uint32_t first_outcome, outcome_count, prerequisite_count
        uint16_t chunk

    ctypedef struct Outcome:
        uint32_t at, length
        uint16_t variant
        uint8_t reason, bits

    ctypedef struct SourceChunk:
        uint32_t offset, length, raw_length

    ctypedef struct Image:
        const Header *header
        const uint8_t *text
        const Node *nodes
        uint32_t node_count
        const Slot *slots
        uint32_t slot_count
        const Entry *dictionary
        const Point *points
        const uint16_t *regions
        const IdTable *id_tables
        const Predicate *predicates
        uint32_t predicate_count
        const Op *ops
        uint32_t op_count
        const Test *tests
        uint32_t test_count
        const uint64_t *class_sets
        const uint16_t *gate_variants
        const Flag *flags
        uint32_t flag_count
        const uint16_t *flag_nodes
        const uint32_t *flag_tests
        const TreeNode *trees
        const Outcome *outcomes
        uint32_t outcome_count
        const SourceChunk *chunks
        uint32_t chunk_count
        const uint8_t *source_map
        uint32_t word_count
        uint64_t answer_bound  # bytes
        int depends, timed

    ctypedef struct Value:
        uint8_t kind
        uint32_t length
        double number
        const uint8_t *text
        Value *elements

    ctypedef struct Arena:
        pass

    ctypedef struct Context:
        const Image *image
        Value *values
        uint16_t *classes
        uint8_t *truths
        int64_t now  # microseconds
        Arena arena

    ctypedef struct Reader:
        const uint8_t *start
        const uint8_t *p
        const uint8_t *at
        Arena *arena
        int error
        const char *reason

    ctypedef struct NamedFlag:
        uint16_t flag

    ctypedef struct Counts:
        uint64_t *counters  # NULL: nothing is counted

    ctypedef struct Options:
        int client, stale
        uint64_t age  # seconds
        Counts *counts

    ctypedef struct Batch:
        Reader reader
        uint32_t context_count, flag_count, failed_context
        NamedFlag *flags
        int compact
        Arena arena

    enum: FORMAT_VERSION, SECTION_COUNT, NO_OUTCOME, NONE16, NONE32, MAX_ELEMENTS, MAX_PROBE, ENTRY_ROOM, READ_MEMORY
    enum: KIND_MISSING, KIND_UNUSABLE, KIND_FALSE, KIND_TRUE, KIND_NUMBER, KIND_STRING, KIND_LIST, KIND_OBJECT
    enum: VIA_NOW, VIA_ID, OP_CLASS_IS, OP_MATCHES, OP_ORDER_OPERANDS, FLAG_OBJECT, FLAG_CLIENT_VISIBLE, UNASKED
    enum: TEST_CLASS, TEST_FLAG

    void *arena_take(Arena *arena, size_t n)
    void arena_trim(Arena *arena)
    void arena_free(Arena *arena)
    void context_free(Context *c)
    void context_reset(Context *c, int64_t now)
    void context_undecide(Context *c)
    uint64_t c_hash64 "hash64"(const uint8_t *p, size_t n)
    uint64_t hash64_seeded(const uint8_t *p, size_t n, uint64_t seed)
    uint32_t c_bucket_of "bucket_of"(uint64_t key_hash, uint64_t salt_hash)
    uint16_t class_of(Context *c, uint16_t slot)
    int truth_of(Context *c, uint32_t predicate)
    uint16_t id_class(const Image *im, const Slot *slot, const uint8_t *text, uint32_t length, uint64_t hash)
    uint32_t decide(Context *c, uint32_t flag)
    void fill_matrix(Context *c, uint32_t first_word, uint32_t word_count)
    uint32_t decide_in_matrix(Context *c, uint32_t flag)
    void remember(Context *c, uint32_t flag, uint32_t outcome)
    uint64_t context_digest(Context *c)

    int read_request(Reader *r, const uint8_t *body, size_t n, Context *c)
    int read_batch(Batch *b, const uint8_t *body, size_t n, const Image *im, int client)
    int read_batch_context(Batch *b, Context *c)

    int counts_create(Counts *counts, const Image *im)  # -1: out of memory
    void counts_free(Counts *counts)
    void settle(Counts *counts, const Image *im)
    void add_counts(Counts *to, const Counts *counted, const Image *im)
    uint64_t take_counter(Counts *counts, size_t index)
    size_t error_counter(const Image *im, uint32_t flag)
    uint32_t quoted_variant(const Image *im, const Flag *flag, const Outcome *o, const uint8_t **quoted)

    uint16_t find_flag(const Image *im, const uint8_t *key, uint32_t length)
    uint8_t *copy_word(uint8_t *to, const char *word)
    uint8_t *copy_all_entries(Context *c, const Options *options, uint8_t *to)
    uint8_t *copy_metadata(const Image *im, const Options *options, uint8_t *to)
    uint8_t *copy_single(const Image *im, uint32_t flag, uint32_t outcome, const Options *options, uint8_t *to)
    uint8_t *copy_failure(const Reader *r, const uint8_t *key, uint32_t key_length, uint8_t *to)
    uint64_t context_bound(const Batch *b, const Image *im)
    uint64_t dictionary_bound(const Batch *b, const Image *im)
    uint8_t *copy_dictionary(const Batch *b, const Image *im, const Options *options, uint8_t *to)
    uint8_t *copy_full_row(Context *c, const Batch *b, const Options *options, uint8_t *to)
    uint8_t *copy_compact_row(Context *c, const Batch *b, const Options *options, uint8_t *to)

cdef extern from "transcode.h" nogil:
    void open_reply(Reader *r, const uint8_t *reply, size_t n, Arena *arena)
    size_t transcode_bound(size_t n)
    uint8_t *transcode(Reader *r, uint8_t *to)

cdef extern from "verify.h" nogil:
    const char *image_open(Image *im, const uint8_t *blob, uint64_t length)

cdef extern from "values.h":
    ctypedef int (*MatchFunction)(void *owner, uint32_t regex, const uint8_t *text, uint32_t length) noexcept  # with the GIL
    int context_create(Context *c, const Image *im, MatchFunction match, void *owner)  # -1: out of memory
