/* The snapshot format, version 1: the records of one immutable, position-independent, little-endian blob.
 *
 * docs/snapshot.md tells the story; this file is the layout. rules_compiler/codegen/layout.py writes it,
 * verify.h makes a blob safe, everything else here then trusts it without bounds checks.
 *
 *   Header | sections, each aligned to 64 bytes, in the order of enum Section, no gaps but zero padding
 *
 * A section is an array of one record type; its count is length / sizeof(record). `first` fields count records from
 * the section's start unless they say otherwise; `at` + `length` pairs are bytes in TEXT.
 */
#ifndef BURGEE_FORMAT_H
#define BURGEE_FORMAT_H

#include <stdint.h>

#define FORMAT_MAGIC "BURGEE\r\n" /* the line end shows a transfer in text mode */
#define FORMAT_VERSION 1u
#define NONE16 0xFFFFu
#define NONE32 0xFFFFFFFFu
#define BUCKET_COUNT 100000u

enum Section {
    TEXT,           /* uint8_t   names, literals, patterns, fragments; ends with 64 zero bytes */
    NODES,          /* Node      attribute paths as a tree; [0] is the context itself */
    NODE_TABLE,     /* Entry     (parent, name) -> node; power of two */
    SLOTS,          /* Slot      one reading (`via`) of one path, classified */
    POINTS,         /* Point     breakpoints of ordered slots; constants of predicates */
    REGIONS,        /* uint16_t  class of each region between and on breakpoints */
    DICTIONARY,     /* Entry     string -> class; a power-of-two table per slot */
    ID_TABLES,      /* IdTable   one per slot read via ID */
    ID_STARTS,      /* uint32_t  bucket -> first id, 2^bits + 1 per table */
    ID_TAGS,        /* uint64_t  second hash of each id, ascending inside a bucket */
    ID_CLASSES,     /* uint16_t  class of each id */
    CLASS_ROWS,     /* ClassRow  one per slot and class */
    ROWS,           /* uint64_t  words of dense rows */
    PATCHES,        /* Patch     words of sparse rows; masks of predicates */
    PREDICATES,     /* Predicate */
    OPS,            /* Op        programs of predicates, children before parents */
    LITERALS,       /* Text      string lists and element paths of ops */
    NUMBERS,        /* double    number lists of ops, ascending */
    TRUTHS,         /* uint8_t   truth of CLASS_IS ops, per class: 0 false, 1 true, 2 unknown */
    TESTS,          /* Test      literals that trees and gates ask, shared by all flags */
    CLASS_SETS,     /* uint64_t  bit sets over the classes of a slot */
    GATE_VARIANTS,  /* uint16_t  variants that open a gate, ascending */
    FLAGS,          /* Flag      constants first, then the others, a flag after those it depends on; else by key */
    FLAG_TABLE,     /* Entry     key -> flag; power of two */
    FLAG_NODES,     /* uint16_t  paths a flag reads, those of the flags it depends on included, ascending, distinct */
    FLAG_TESTS,     /* uint32_t  a flag's own numbering of TESTS */
    TREES,          /* TreeNode */
    SERVES,         /* uint32_t  per bit: what its conjunction serves, see SERVE_ below */
    GATED,          /* Gated     a serve behind gates */
    PREREQUISITES,  /* Prerequisite */
    OUTCOMES,       /* Outcome */
    SPLITS,         /* Split */
    RANGES,         /* Range */
    SOURCE_CHUNKS,  /* SourceChunk */
    SOURCE_MAP,     /* uint8_t   zlib streams of JSON, read only to explain; see docs/snapshot.md */
    SECTION_COUNT
};

typedef struct { uint32_t offset, length; } Extent; /* bytes from the blob's start */

typedef struct {
    uint8_t magic[8];
    uint32_t format;
    uint32_t header_length; /* sizeof(Header) */
    uint64_t length;        /* of the whole blob */
    uint8_t digest[32];     /* BLAKE2b-256 of everything after this field */
    uint64_t version;       /* of the environment, given by the publisher */
    uint64_t node_seed;     /* of NODE_TABLE */
    uint64_t flag_seed;     /* of FLAG_TABLE */
    uint32_t bit_count;     /* conjunctions of all flags, fallthroughs included */
    uint32_t constant_count; /* FLAGS[0 .. constant_count) have no conjunctions; their fragments touch, see Outcome */
    uint32_t environment_at, environment_length;   /* name, in TEXT */
    uint32_t flag_set_at, flag_set_length;         /* id such as tenant/project/environment; may be empty */
    uint32_t metadata_at, metadata_length;         /* `"flagSetId":"…","version":"…"`: members for answers, no braces */
    Extent sections[SECTION_COUNT];
} Header;

/* Hash tables. h = hash64(text) + parent * PHI (mod 2^64; parent is 0 in DICTIONARY and FLAG_TABLE);
 * position = ((h ^ seed) * PHI) >> (64 - log2 of the table's size), size >= 2 and at least one entry empty;
 * linear probing, no run of filled entries longer than MAX_PROBE (counted around the end). */
#define PHI 0x9E3779B97F4A7C15ull
#define MAX_PROBE 256
typedef struct {
    uint32_t tag;      /* low 32 bits of h */
    uint32_t at, length;
    uint16_t target;   /* NONE16: empty */
    uint16_t parent;
} Entry;

typedef struct {
    uint32_t at, length; /* name of the last step */
    uint16_t parent;     /* always a lower index; NONE16 for the root */
    uint8_t has_children;
    uint8_t keeps_elements; /* some predicate looks into the list (or object) found here */
} Node;

enum Via { VIA_VALUE, VIA_LOWER, VIA_SIZE, VIA_SEMVER, VIA_TIMESTAMP, VIA_IP, VIA_NOW, VIA_ID, VIA_COUNT };

/* Ordered values are 128-bit unsigned keys (hi, lo):
 *   numbers, SIZE     hi = bits of the double, all flipped if negative, else the sign bit set; lo = 0; -0 is 0
 *   TIMESTAMP, NOW    hi = microseconds since the epoch + 2^63; lo = 0
 *   IP                the IPv6 address, high half and low half
 *   SEMVER            hi = major << 32 | minor; lo = patch << 32 | (2^32 - 1 for a release, else 0); a pre-release's
 *                     text at `at`, `length`, and points that differ only in it are ordered by it (SemVer 11.4) */
typedef struct { uint64_t hi, lo; uint32_t at, length; } Point;

typedef struct {
    uint16_t node;      /* 0 for NOW */
    uint8_t via;
    uint8_t dictionary_bits; /* log2 of the table's size; 0: no table. VALUE and LOWER only */
    uint16_t class_count;
    /* VALUE has a class for every kind. The other vias put whatever cannot be read so into class_missing, and strings
     * (LOWER) or texts (ID) that are in no table into class_string. */
    uint16_t class_missing, class_unusable, class_false, class_true, class_string, class_list, class_object;
    uint16_t class_default; /* base of the slot's sparse rows; its own row is dense */
    uint16_t pad;
    uint32_t first_point, point_count; /* ascending, distinct */
    uint32_t first_region;  /* 2 * point_count + 1 of them: below [0], on [0], between [0] and [1], on [1], … */
    uint32_t first_entry;   /* in DICTIONARY */
    uint32_t id_table;      /* ID only */
    uint32_t first_row;     /* in CLASS_ROWS; class_count of them */
    uint32_t first_word, word_count; /* the words of the matrix that any row of this slot narrows; outside: all ones */
    uint32_t pad2;
    uint64_t dictionary_seed;
} Slot;

/* bucket = hash64(text) >> (64 - bits); tag = XXH64(text, seed PHI) */
typedef struct {
    uint32_t bits;        /* 1 … 24 */
    uint32_t count;
    uint32_t first_start; /* in ID_STARTS; starts count from first_id */
    uint32_t first_id;    /* in ID_TAGS and ID_CLASSES */
} IdTable;

/* A row: which conjunctions accept this class. Dense: ROWS[first .. first + word_count). Sparse: the row of class_default,
 * but for the words in PATCHES[first .. first + patches). */
#define MAX_PATCHES 16
#define DENSE 0xFFFFFFFFu
typedef struct { uint32_t first, patches; } ClassRow;
typedef struct { uint32_t word, pad; uint64_t bits; } Patch; /* word: of the whole matrix, ascending */

/* A predicate is evaluated when asked, at most once a context. In the matrix, `true_masks` are the bits of
 * conjunctions that need it true, `false_masks` of those that need it false (Patch: word, bits; bits != 0). */
typedef struct {
    uint32_t first_op, op_count; /* the last op is the root */
    uint32_t first_true, true_count, first_false, false_count;
} Predicate;

enum OpKind {
    OP_CONSTANT,    /* a: 0 false, 1 true, 2 unknown */
    OP_AND, OP_OR,  /* a, b: ops, counted from the predicate's first, lower than this one */
    OP_NOT,         /* a */
    OP_CLASS_IS,    /* a: slot, b: its first truth in TRUTHS (class_count of them). Context attributes */
    OP_HAS,         /* operand */
    OP_IN_STRINGS,  /* operand (VALUE, LOWER); LITERALS[a .. a + b), ascending by bytes */
    OP_IN_NUMBERS,  /* operand (VALUE); NUMBERS[a .. a + b) */
    OP_IN_BOOLEANS, /* operand (VALUE); a: bit 0 accepts false, bit 1 accepts true */
    OP_ORDER_TEXT,  /* operand (VALUE, LOWER) op TEXT[a .. a + b) */
    OP_ORDER_KEY,   /* operand (VALUE number, SIZE, SEMVER, TIMESTAMP, IP, NOW) op POINTS[a] */
    OP_IN_NETWORKS, /* operand (IP); b pairs of POINTS from a: first and last address, both inclusive */
    OP_STARTS_WITH, OP_ENDS_WITH, OP_CONTAINS_TEXT, /* operand (VALUE, LOWER); TEXT[a .. a + b) */
    OP_MATCHES,     /* operand (VALUE, LOWER); pattern TEXT[a .. a + b); n: number of the regex, dense from 0 over OPS */
    OP_HAS_STRING, OP_HAS_NUMBER, OP_HAS_BOOLEAN, /* operand is a list (VALUE); some element as OP_IN_… */
    OP_EXISTS, OP_ALL, /* operand is a list (VALUE); a: body, an op as in AND, at scope + 1 */
    OP_ORDER_OPERANDS, /* operand op (operand of ops[a], an OP_OPERAND) + n microseconds */
    OP_OPERAND,     /* only named by OP_ORDER_OPERANDS */
    OP_KIND_COUNT
};
enum Order { ORDER_LT, ORDER_LE, ORDER_GT, ORDER_GE, ORDER_EQ, ORDER_COUNT };
#define MAX_OP_DEPTH 96
#define MAX_STEPS 64 /* of an operand's path */
#define MAX_SCOPE 2

/* An operand: scope 0 reads NODES[node] of the context; scope 1 or 2 the element of the outermost or inner
 * quantifier, following the members LITERALS[node .. node + steps). */
typedef struct {
    uint8_t kind, order, via, scope;
    uint32_t node, steps;
    uint32_t a, b;
    uint32_t pad;
    int64_t n;
} Op;

typedef struct { uint32_t at, length; } Text;

/* A literal: the class of a slot is in a set; a predicate is true, or false; a flag's variant is one of some. */
enum TestKind { TEST_CLASS, TEST_TRUE, TEST_FALSE, TEST_FLAG, TEST_KIND_COUNT };
typedef struct {
    uint16_t kind;
    uint16_t subject; /* slot, predicate, or flag (always a lower index than the flag that asks) */
    uint32_t first;   /* in CLASS_SETS ((class_count + 63) / 64 words), or in GATE_VARIANTS */
    uint32_t count;   /* of GATE_VARIANTS */
} Test;

/* A child below LEAF is a node of the same tree, later than this one; LEAF | c: conjunction c serves. */
#define LEAF 0x8000u
typedef struct {
    uint16_t test;        /* in the flag's FLAG_TESTS */
    uint16_t conjunction; /* whose literal this is; for people */
    uint16_t yes, no;
} TreeNode;

enum FlagBits { FLAG_CLIENT_VISIBLE = 1, FLAG_DEPENDS = 2 /* has gates or prerequisites */, FLAG_OBJECT = 4 /* value is JSON */,
                FLAG_TIMED = 8 /* it, or a flag it depends on, reads NOW */ };
#define MAX_FLAG_BITS 32000
#define MAX_DEPENDENCY_DEPTH 32
#define MAX_FLAG_OUTCOMES 32000 /* their numbers have at most 5 digits, see context_bound */
typedef struct {
    uint32_t key_at;
    uint16_t key_length;
    uint8_t bits;
    uint8_t type;            /* 0 boolean, 1 string, 2 integer, 3 number, 4 object */
    uint32_t first_bit;      /* of its conjunctions, contiguous; the next flag's follow */
    uint32_t bit_count;      /* 0: a constant, OUTCOMES[first_outcome]. Else the last conjunction is the fallthrough */
    uint32_t first_node, node_count;       /* FLAG_NODES */
    uint32_t first_test, test_count;       /* FLAG_TESTS */
    uint32_t first_tree, tree_count;       /* TREES; none with bit_count > 1: too large for a tree, scan the matrix */
    uint32_t first_outcome, outcome_count; /* OUTCOMES */
    uint32_t first_prerequisite, prerequisite_count;
    uint16_t variant_count;
    uint16_t chunk;          /* SOURCE_CHUNKS */
    uint32_t pad;
} Flag;

/* What a bit serves. Counted in the flag's own outcomes; splits and gated in their sections. */
#define SERVE_OUTCOME 0u
#define SERVE_SPLIT 1u
#define SERVE_GATED 2u /* its own serve is one of the other two */
#define SERVE_KIND(word) ((word) >> 30)
#define SERVE_INDEX(word) ((word) & 0x3FFFFFFFu)
typedef struct { uint32_t serve, first_test, test_count; } Gated; /* TEST_FLAG tests, FLAG_TESTS[first_test ..), absolute */

typedef struct { uint32_t test; uint32_t outcome; } Prerequisite; /* test: in TESTS, a TEST_FLAG; outcome: the flag's, if it fails */

enum Reason { REASON_STATIC, REASON_DEFAULT, REASON_TARGETING_MATCH, REASON_SPLIT, REASON_DISABLED, REASON_COUNT };
enum OutcomeBits { OUTCOME_METADATA = 1 /* the fragment ends with its own metadata: …"metadata":{…}} */ };

/* A fragment is the flag's answer as JSON, `{"key":"k","value":…,"variant":"v","reason":"R"}` (no value and variant for the
 * code default), in that order, without spaces, and a comma behind it that is not counted in `length`. No two overlap. */
typedef struct {
    uint32_t at, length;
    uint16_t variant; /* NONE16: the code default */
    uint8_t reason;
    uint8_t bits;
} Outcome;

typedef struct {
    uint64_t salt;       /* hash64 of the salt */
    uint16_t node;       /* of `by` */
    uint16_t range_count;
    uint32_t first_range;
} Split;
typedef struct { uint32_t end; uint32_t outcome; } Range; /* buckets below `end`; the last ends at BUCKET_COUNT. outcome: the flag's */

typedef struct { uint32_t offset, length, raw_length; } SourceChunk; /* bytes in SOURCE_MAP */

/* What a loader accepts: at least twice what the compiler makes. */
#define MAX_FLAGS 20000
#define MAX_NODES 20000
#define MAX_SLOTS 32000
#define MAX_PREDICATES 32000
#define MAX_BITS (1u << 22)
#define MAX_CLASSES 60000
#define MAX_CHUNK (64u << 20)

#endif
