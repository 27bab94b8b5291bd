/* A context's values, whether they came as JSON or as Python objects; docs/semantics.md, Values. */
#ifndef BURGEE_VALUES_H
#define BURGEE_VALUES_H

#include <math.h>
#include "arena.h"
#include "image.h"

enum Kind { KIND_MISSING, KIND_UNUSABLE, KIND_FALSE, KIND_TRUE, KIND_NUMBER, KIND_STRING, KIND_LIST, KIND_OBJECT };

typedef struct Value {
    uint8_t kind;
    uint8_t hashed;   /* the node's hash is known */
    uint32_t length;  /* bytes of a string, elements of a list, members of an object */
    union {
        double number;
        const uint8_t *text;
        struct Value *elements; /* kept lists: elements; kept objects: name, value, name, value, …; else NULL */
    };
} Value;

#define MAX_ELEMENTS 4096
#define MAX_EXACT 9007199254740991.0 /* 2^53 - 1 */

enum Truth { FALSE, TRUE, UNKNOWN };
#define UNASKED 3 /* a predicate's memo */

struct Context;
/* Is there a match of regex number `regex` in the text? Called with the GIL; never fails. */
typedef int (*MatchFunction)(void *owner, uint32_t regex, const uint8_t *text, uint32_t length);

typedef struct Context {
    const Image *image;
    Value *values;       /* per node */
    uint64_t *hashes;    /* per node, hash64 of the value as a bucketing key */
    uint16_t *classes;   /* per slot; NONE16: not classified yet */
    uint8_t *truths;     /* per predicate; UNASKED */
    uint64_t *matrix;    /* conjunctions that still hold */
    uint32_t *decided;   /* per flag, its outcome (NO_OUTCOME: in error), valid where stamps[flag] == stamp */
    uint32_t *stamps;
    uint32_t stamp;
    int64_t now;         /* microseconds since the epoch */
    MatchFunction match;
    void *owner;
    Arena arena;
    void *memory;
} Context;

#define NO_OUTCOME 0xFFFFFFFFu

static inline int context_create(Context *c, const Image *im, MatchFunction match, void *owner) {
    size_t nodes = im->node_count, words = im->word_count + 1, flags = im->depends ? im->flag_count : 0;
    size_t bytes = nodes * (sizeof(Value) + 8) + words * 8 + flags * 8 + im->slot_count * 2 + im->predicate_count + 64;
    *c = (Context){.image = im, .match = match, .owner = owner};
    uint8_t *at = c->memory = calloc(1, bytes);
    if (!at) return -1;
    c->values = (Value *)at;         at += nodes * sizeof(Value);
    c->hashes = (uint64_t *)at;      at += nodes * 8;
    c->matrix = (uint64_t *)at;      at += words * 8;
    c->decided = (uint32_t *)at;     at += flags * 4;
    c->stamps = (uint32_t *)at;      at += flags * 4;
    c->classes = (uint16_t *)at;     at += im->slot_count * 2;
    c->truths = at;
    return 0;
}

static inline void context_free(Context *c) {
    free(c->memory);
    arena_free(&c->arena);
    c->memory = NULL;
}

/* Another stamp: nothing is decided. */
static inline void context_undecide(Context *c) {
    if (++c->stamp == 0) {
        if (c->image->depends) memset(c->stamps, 0, c->image->flag_count * 4);
        c->stamp = 1;
    }
}

static inline void context_reset(Context *c, int64_t now) {
    memset(c->values, 0, c->image->node_count * sizeof(Value));
    memset(c->classes, 0xFF, c->image->slot_count * 2);
    memset(c->truths, UNASKED, c->image->predicate_count);
    arena_reset(&c->arena);
    c->now = now;
    context_undecide(c);
}

/* ---- texts and numbers ---- */

static inline int is_exact_integer(double x) { return x >= -MAX_EXACT && x <= MAX_EXACT && x == floor(x); }

/* Decimal text of an exact integer, without a leading plus or zero: 1.0 -> 1, -0 -> 0. Returns its length (at most 17). */
static inline uint32_t integer_text(double x, uint8_t out[20]) {
    int64_t n = (int64_t)x;
    uint64_t rest = n < 0 ? (uint64_t)-n : (uint64_t)n;
    uint8_t digits[20];
    uint32_t count = 0, length = 0;
    do digits[count++] = (uint8_t)('0' + rest % 10); while (rest /= 10);
    if (n < 0) out[length++] = '-';
    while (count) out[length++] = digits[--count];
    return length;
}

/* A string, or an exact integer as its text (in `space`): what buckets and id lists are asked with. */
static inline int id_text(const Value *v, uint8_t space[20], const uint8_t **text, uint32_t *length) {
    if (v->kind == KIND_STRING) {
        *text = v->text;
        *length = v->length;
        return 1;
    }
    if (v->kind != KIND_NUMBER || !is_exact_integer(v->number)) return 0;
    *text = space;
    *length = integer_text(v->number, space);
    return 1;
}

/* hash64 of the value at a node as a bucketing key or an id; 0 returned if it has none. */
static inline int key_hash(Context *c, uint16_t node, uint64_t *hash) {
    Value *v = &c->values[node];
    if (!v->hashed) {
        uint8_t space[20];
        const uint8_t *text;
        uint32_t length;
        if (!id_text(v, space, &text, &length)) return 0;
        c->hashes[node] = hash64(text, length);
        v->hashed = 1;
    }
    *hash = c->hashes[node];
    return 1;
}

#endif
