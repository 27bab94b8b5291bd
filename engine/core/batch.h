/* The batch endpoint: many contexts, one snapshot (docs/batch.md).
 *
 *   {"contexts": [{…}, {…}], "flags": ["a", "b"], "format": "compact"}
 *
 * is read twice: once for its shape (where `contexts` is, which flags, which format), then context by context, so that only one context is
 * in memory at a time. */
#ifndef BURGEE_BATCH_H
#define BURGEE_BATCH_H

#include "render.h"

#define MAX_CONTEXTS 10000
#define MAX_NAMED_FLAGS 10000

typedef struct {
    uint16_t flag;       /* NONE16: no such flag */
    const uint8_t *key;  /* as it was asked for, unescaped */
    uint32_t key_length;
} NamedFlag;

typedef struct {
    Reader reader;
    const uint8_t *contexts; /* the list's opening bracket */
    uint32_t context_count;
    NamedFlag *flags;        /* NULL: all */
    uint32_t flag_count;
    int compact;
    uint32_t failed_context; /* index of the one that could not be read */
    Arena arena;
} Batch;

static inline int read_flag_names(Batch *b, const Image *im, int client) {
    Reader *r = &b->reader;
    const uint8_t *at = r->p;
    Value list;
    if (*r->p != '[') return read_refuse(r, "`flags` is not a list", at);
    /* kept lists stop at MAX_ELEMENTS; names are kept here instead */
    uint32_t room = 64;
    b->flags = arena_take(&b->arena, room * sizeof(NamedFlag));
    if (!b->flags || read_enter(r)) return -1;
    int more = !read_empty(r, ']');
    while (more) {
        if (*r->p != '"') return read_value(r, 0, &list) ? -1 : read_refuse(r, "`flags` holds something that is not a flag key", at);
        if (b->flag_count == MAX_NAMED_FLAGS) return read_refuse(r, "more than 10000 flags", at);
        if (b->flag_count == room) {
            NamedFlag *wider = arena_take(&b->arena, 2 * room * sizeof(NamedFlag));
            if (!wider) return read_fail(r, READ_MEMORY, at);
            memcpy(wider, b->flags, room * sizeof(NamedFlag));
            b->flags = wider;
            room *= 2;
        }
        NamedFlag *n = &b->flags[b->flag_count++];
        if (read_string(r, &n->key, &n->key_length)) return -1;
        n->flag = n->key_length <= 256 ? find_flag(im, n->key, n->key_length) : NONE16;
        if (n->flag != NONE16 && client && !(im->flags[n->flag].bits & FLAG_CLIENT_VISIBLE)) n->flag = NONE16;
        if (n->flag == NONE16) {
            int plain = n->key_length >= 1 && n->key_length <= 256;
            for (uint32_t i = 0; plain && i < n->key_length; i++)
                plain = is_identifier(n->key[i]) || n->key[i] == '.' || n->key[i] == '_';
            if (!plain) return read_refuse(r, "`flags` holds something that is not a flag key", at);
        }
        if ((more = read_next(r, ']')) < 0) return -1;
    }
    r->depth--;
    return 0;
}

static inline int read_format(Batch *b) {
    Reader *r = &b->reader;
    const uint8_t *at = r->p, *text = NULL;
    uint32_t length = 0;
    Value other;
    if (*at != '"') return read_value(r, 0, &other) ? -1 : read_refuse(r, "`format` is neither `full` nor `compact`", at);
    if (read_string(r, &text, &length)) return -1;
    b->compact = length == 7 && memcmp(text, "compact", 7) == 0;
    if (!b->compact && !(length == 4 && memcmp(text, "full", 4) == 0))
        return read_refuse(r, "`format` is neither `full` nor `compact`", at);
    return 0;
}

/* Where the contexts are and how many; each is looked at again by read_batch_context. */
static inline int skip_contexts(Batch *b) {
    Reader *r = &b->reader;
    Value skipped;
    b->contexts = r->p;
    if (*r->p != '[') return read_value(r, 0, &skipped) ? -1 : read_refuse(r, "`contexts` is not a list", b->contexts);
    if (read_enter(r)) return -1;
    int more = !read_empty(r, ']');
    while (more) {
        b->failed_context = b->context_count;
        const uint8_t *at = r->p;
        if (b->context_count++ == MAX_CONTEXTS) return read_refuse(r, "more than 10000 contexts", at);
        if (read_value(r, 0, &skipped)) return -1;
        if (skipped.kind != KIND_OBJECT) return read_refuse(r, "a context is not an object", at);
        if (r->p - at > MAX_CONTEXT_BYTES) return read_fail(r, READ_SIZE, at);
        if ((more = read_next(r, ']')) < 0) return -1;
    }
    r->depth--;
    return 0;
}

/* Leaves the reader at the first context (or the closing bracket). */
static inline int read_batch(Batch *b, const uint8_t *body, size_t n, const Image *im, int client) {
    Reader *r = &b->reader;
    Names names = {.count = 0};
    Name name;
    Value skipped;
    *b = (Batch){.failed_context = NONE32};
    r->arena = &b->arena;
    if (read_body(r, body, n)) return -1;
    int more = !read_empty(r, '}'), failed;
    while (more) {
        if (read_name(r, &names, &name)) return -1;
        if (name_is(&name, "contexts")) failed = skip_contexts(b);
        else if (name_is(&name, "flags")) failed = read_flag_names(b, im, client);
        else if (name_is(&name, "format")) failed = read_format(b);
        else failed = read_value(r, 0, &skipped);
        if (failed) return -1;
        b->failed_context = NONE32;
        if ((more = read_next(r, '}')) < 0) return -1;
    }
    if (read_end(r)) return -1;
    if (!b->contexts) return read_refuse(r, "the body has no `contexts`", r->start);
    r->p = b->contexts + 1;
    r->depth = 2;
    skip_space(r);
    return 0;
}

/* The next context, already known to be well-formed, into `c`. */
static inline int read_batch_context(Batch *b, Context *c) {
    Reader *r = &b->reader;
    if (*r->p == ',') { r->p++; skip_space(r); }
    int failed = read_context(r, c);
    r->arena = &b->arena;
    skip_space(r);
    return failed;
}

/* ---- rows of a reply ---- */

static inline uint32_t named_outcome(Context *c, const NamedFlag *n) {
    return c->image->depends ? decided(c, n->flag) : decide(c, n->flag);
}

static inline uint8_t *copy_not_found(const NamedFlag *n, uint8_t *to) {
    to = copy_word(to, "{\"key\":\"");
    memcpy(to, n->key, n->key_length);
    return copy_word(to + n->key_length, "\",\"errorCode\":\"FLAG_NOT_FOUND\",\"errorDetails\":\"no such flag\"}");
}

/* Bytes that one context takes at most in a reply. Compact: an outcome's number of at most 5 digits, and a comma. */
static inline uint64_t context_bound(const Batch *b, const Image *im) {
    if (!b->flags) return b->compact ? 6 * (uint64_t)im->flag_count : im->answer_bound;
    if (b->compact) return 6 * (uint64_t)b->flag_count;
    uint64_t bound = 0;
    for (uint32_t i = 0; i < b->flag_count; i++) {
        uint32_t longest = b->flags[i].key_length + 160;
        if (b->flags[i].flag != NONE16) {
            const Flag *f = &im->flags[b->flags[i].flag];
            for (uint32_t k = 0; k < f->outcome_count; k++)
                if (im->outcomes[f->first_outcome + k].length > longest) longest = im->outcomes[f->first_outcome + k].length;
        }
        bound += longest + 1;
    }
    return bound;
}

static inline uint8_t *copy_full_row(Context *c, const Batch *b, const Options *options, uint8_t *to) {
    const Image *im = c->image;
    uint64_t *counters = counters_of(options);
    to = copy_word(to, "{\"flags\":[");
    const uint8_t *start = to;
    if (!b->flags) {
        fill_matrix(c, 0, im->word_count);
        to = copy_all_entries(c, options, to);
    } else
        for (uint32_t i = 0; i < b->flag_count; i++) {
            const NamedFlag *n = &b->flags[i];
            if (n->flag == NONE16) to = copy_not_found(n, to);
            else {
                uint32_t outcome = named_outcome(c, n);
                if (counters) count(counters, im, n->flag, outcome);
                to = copy_entry(im, &im->flags[n->flag], outcome, options->stale, to);
            }
            *to++ = ',';
        }
    if (to > start) to--;
    return copy_word(to, "]}");
}

static inline uint8_t *copy_index(const Flag *flag, uint32_t outcome, uint8_t *to) {
    if (outcome == NO_OUTCOME) return copy_word(to, "-1,");
    uint32_t index = outcome - flag->first_outcome;
    if (index < 10) *to++ = (uint8_t)('0' + index); else to = copy_number(to, index);
    *to++ = ',';
    return to;
}

static inline uint8_t *copy_compact_row(Context *c, const Batch *b, const Options *options, uint8_t *to) {
    const Image *im = c->image;
    uint64_t *counters = counters_of(options);
    *to++ = '[';
    const uint8_t *start = to;
    if (b->flags) {
        for (uint32_t i = 0; i < b->flag_count; i++) {
            const NamedFlag *n = &b->flags[i];
            if (n->flag == NONE16) { to = copy_word(to, "0,"); continue; }
            uint32_t outcome = named_outcome(c, n);
            if (counters) count(counters, im, n->flag, outcome);
            to = copy_index(&im->flags[n->flag], outcome, to);
        }
    } else {
        fill_matrix(c, 0, im->word_count);
        if (counters) count_constants(options->counts, options->client);
        for (uint32_t i = 0; i < im->flag_count; i++) {
            const Flag *flag = &im->flags[i];
            int hidden = options->client && !(flag->bits & FLAG_CLIENT_VISIBLE);
            if (hidden && !im->depends) continue;
            uint32_t outcome = flag->bit_count ? decide_in_matrix(c, i) : flag->first_outcome;
            if (im->depends) remember(c, i, outcome);
            if (hidden) continue;
            if (counters && flag->bit_count) count(counters, im, i, outcome);
            to = copy_index(flag, outcome, to);
        }
    }
    if (to > start) to--;
    *to++ = ']';
    return to;
}

/* ---- the dictionary of a compact reply ---- */

static inline uint64_t dictionary_bound(const Batch *b, const Image *im) {
    uint64_t bound = 64;
    uint32_t count = b->flags ? b->flag_count : im->flag_count;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t flag = b->flags ? b->flags[i].flag : i;
        bound += (b->flags ? b->flags[i].key_length : im->flags[i].key_length) + 64;
        if (flag == NONE16) continue;
        const Flag *f = &im->flags[flag];
        for (uint32_t k = 0; k < f->outcome_count; k++) bound += im->outcomes[f->first_outcome + k].length + 2;
    }
    return bound;
}

/* `{"flags":["a",…],"outcomes":[[{…},…],…],"results":[` */
static inline uint8_t *copy_dictionary(const Batch *b, const Image *im, const Options *options, uint8_t *to) {
    uint32_t count = b->flags ? b->flag_count : im->flag_count;
    to = copy_word(to, "{\"flags\":[");
    for (int part = 0; part < 2; part++) {
        const uint8_t *start = to;
        for (uint32_t i = 0; i < count; i++) {
            uint32_t flag = b->flags ? b->flags[i].flag : i;
            if (!b->flags && options->client && !(im->flags[i].bits & FLAG_CLIENT_VISIBLE)) continue;
            const Flag *f = flag == NONE16 ? NULL : &im->flags[flag];
            if (part == 0) {
                *to++ = '"';
                uint32_t n = f ? f->key_length : b->flags[i].key_length;
                memcpy(to, f ? im->text + f->key_at : b->flags[i].key, n);
                to = copy_word(to + n, "\",");
            } else if (!f) to = copy_word(to, "[{\"errorCode\":\"FLAG_NOT_FOUND\"}],");
            else {
                *to++ = '[';
                for (uint32_t k = 0; k < f->outcome_count; k++) {
                    *to++ = '{';
                    to = copy_fragment(im, f, &im->outcomes[f->first_outcome + k], key_end(f), options->stale, to);
                    *to++ = ',';
                }
                to[-1] = ']';
                *to++ = ',';
            }
        }
        if (to > start) to--;
        to = copy_word(to, part == 0 ? "],\"outcomes\":[" : "],\"results\":[");
    }
    return to;
}

#endif
