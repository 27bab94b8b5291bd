/* Answers as bytes: fragments copied, nothing formatted that the compiler could format. Callers make room first
 * (image.answer_bound and the *_ROOM constants); every copy may write up to COPY_SLACK bytes past its end. */
#ifndef BURGEE_RENDER_H
#define BURGEE_RENDER_H

#include "count.h"
#include "decide.h"
#include "reader.h"

#define COPY_SLACK 64
#define ENTRY_ROOM 512 /* brackets, an error, a count, an age */

/* How answers are given, whatever the context. */
typedef struct {
    int client;     /* client-visible flags, no others */
    int stale;      /* every reason is STALE, but an error is an error, and the metadata has the age */
    uint64_t age;   /* whole seconds */
    Counts *counts; /* NULL: not counted */
} Options;

static inline uint64_t *counters_of(const Options *o) { return o->counts ? o->counts->counters : NULL; }

/* Copies in steps of 32, so reads and writes up to 31 bytes more: TEXT and every output have that much slack. */
static inline uint8_t *copy_text(uint8_t *to, const uint8_t *from, uint32_t n) {
    for (uint32_t i = 0; i < n; i += 32) memcpy(to + i, from + i, 32);
    return to + n;
}

static inline uint8_t *copy_word(uint8_t *to, const char *word) {
    size_t n = strlen(word);
    memcpy(to, word, n);
    return to + n;
}

static inline uint8_t *copy_number(uint8_t *to, uint64_t n) {
    uint8_t digits[20];
    int count = 0;
    do digits[count++] = (uint8_t)('0' + n % 10); while (n /= 10);
    while (count) *to++ = digits[--count];
    return to;
}

#define MISSING_KEY_ENTRY "\"errorCode\":\"TARGETING_KEY_MISSING\",\"errorDetails\":\"the context has no bucketing key for a split\"}"

static inline uint8_t *copy_missing_key(const Image *im, const Flag *flag, uint8_t *to) {
    to = copy_word(to, "{\"key\":\"");
    to = copy_text(to, im->text + flag->key_at, flag->key_length);
    return copy_word(to, "\"," MISSING_KEY_ENTRY);
}

typedef struct { const char *text; uint32_t length; } Word;
#define WORD(text) {text, sizeof(text) - 1}

/* Where the word is last in text[from .. end), or NONE32. */
static inline uint32_t last_word(const uint8_t *text, uint32_t from, uint32_t end, Word word) {
    if (end < from + word.length) return NONE32;
    for (uint32_t at = end - word.length;; at--) {
        if (memcmp(text + at, word.text, word.length) == 0) return at;
        if (at == from) return NONE32;
    }
}

static const Word REASON_MEMBERS[REASON_COUNT] = {
    WORD("\"reason\":\"STATIC\""), WORD("\"reason\":\"DEFAULT\""), WORD("\"reason\":\"TARGETING_MATCH\""),
    WORD("\"reason\":\"SPLIT\""), WORD("\"reason\":\"DISABLED\""),
};

/* Where a fragment has its reason, or NONE32: nobody has verified it. The last is the fragment's own: others are in its value, and
 * behind it is only metadata without one. In a string the quotes would be escaped. */
static inline uint32_t reason_at(const Image *im, const Flag *flag, const Outcome *o) {
    return last_word(im->text + o->at, key_end(flag), o->length - 1, REASON_MEMBERS[o->reason]);
}

/* The variant's name in a fragment, as it is quoted there; of no length where there is none. */
static inline uint32_t quoted_variant(const Image *im, const Flag *flag, const Outcome *o, const uint8_t **quoted) {
    const Word name = WORD("\"variant\":");
    const uint8_t *text = im->text + o->at;
    uint32_t end = reason_at(im, flag, o), at;
    if (o->variant == NONE16 || end == NONE32) return 0;
    if ((at = last_word(text, key_end(flag), end - 1, name)) == NONE32) return 0;
    *quoted = text + at + name.length;
    return end - 1 - (at + name.length);
}

/* A fragment from its byte `first` (0, or key_end) on, with STALE for its reason; so it is never longer. */
static __attribute__((noinline)) uint8_t *copy_stale(const Image *im, const Flag *flag, const Outcome *o, uint32_t first, uint8_t *to) {
    const uint8_t *text = im->text + o->at;
    uint32_t at = reason_at(im, flag, o);
    if (at == NONE32) return copy_text(to, text + first, o->length - first);
    to = copy_word(copy_text(to, text + first, at - first), "\"reason\":\"STALE\"");
    at += REASON_MEMBERS[o->reason].length;
    return copy_text(to, text + at, o->length - at);
}

static inline uint8_t *copy_fragment(const Image *im, const Flag *flag, const Outcome *o, uint32_t first, int stale, uint8_t *to) {
    return stale ? copy_stale(im, flag, o, first, to) : copy_text(to, im->text + o->at + first, o->length - first);
}

static inline uint8_t *copy_entry(const Image *im, const Flag *flag, uint32_t outcome, int stale, uint8_t *to) {
    if (outcome == NO_OUTCOME) return copy_missing_key(im, flag, to);
    return copy_fragment(im, flag, &im->outcomes[outcome], 0, stale, to);
}

static inline void remember(Context *c, uint32_t flag, uint32_t outcome) {
    c->decided[flag] = outcome;
    c->stamps[flag] = c->stamp;
}

/* Entries of flags [first, end), none of which depends on another, each followed by a comma. The hot loop of bulk answers: its
 * pointers are locals, since every byte written might otherwise alias the Image (1,000 flags: from 2.6 to 2.0 times the C control). */
static inline __attribute__((always_inline)) uint8_t *copy_independent_entries(Context *c, uint32_t first, uint32_t end, int client,
                                                                               uint64_t *counters, uint8_t *to) {
    const Image *im = c->image;
    const Flag *flags = im->flags;
    const Outcome *outcomes = im->outcomes;
    const uint32_t *serves = im->serves;
    const uint8_t *text = im->text;
    const uint64_t *matrix = c->matrix;
    for (uint32_t i = first; i < end; i++) {
        const Flag *flag = &flags[i];
        if (client && !(flag->bits & FLAG_CLIENT_VISIBLE)) continue;
        uint32_t serve = flag->bit_count ? serves[next_bit(matrix, flag->first_bit)] : 0;
        uint32_t outcome = served(c, flag, serve);
        if (outcome == NO_OUTCOME) {
            if (counters) count(counters, im, i, outcome);
            to = copy_missing_key(im, flag, to);
        } else {
            if (counters) counters[outcome]++;
            to = copy_text(to, text + outcomes[outcome].at, outcomes[outcome].length);
        }
        *to++ = ',';
    }
    return to;
}

/* A loop of its own: asking in it whether somebody counts takes 4 % more instructions (1,000 flags). */
static __attribute__((noinline)) uint8_t *copy_uncounted_entries(Context *c, uint32_t first, uint32_t end, int client, uint8_t *to) {
    return copy_independent_entries(c, first, end, client, NULL, to);
}

/* Entries of all flags where some depend on others, or what is served is stale. */
static inline uint8_t *copy_decided_entries(Context *c, const Options *options, uint8_t *to) {
    const Image *im = c->image;
    uint64_t *counters = counters_of(options);
    for (uint32_t i = 0; i < im->flag_count; i++) {
        const Flag *flag = &im->flags[i];
        uint32_t outcome = flag->bit_count ? decide_in_matrix(c, i) : flag->first_outcome;
        if (im->depends) remember(c, i, outcome);
        if (options->client && !(flag->bits & FLAG_CLIENT_VISIBLE)) continue;
        if (counters && flag->bit_count) count(counters, im, i, outcome);
        to = copy_entry(im, flag, outcome, options->stale, to);
        *to++ = ',';
    }
    return to;
}

/* Entries of all flags, each followed by a comma; fill_matrix first. */
static inline uint8_t *copy_all_entries(Context *c, const Options *options, uint8_t *to) {
    const Image *im = c->image;
    uint32_t constants = im->header->constant_count;
    uint64_t *counters = counters_of(options);
    if (counters) count_constants(options->counts, options->client);
    if (im->depends || options->stale) return copy_decided_entries(c, options, to);
    if (constants && !options->client) {
        const Outcome *first = &im->outcomes[im->flags[0].first_outcome];
        const Outcome *last = &im->outcomes[im->flags[constants - 1].first_outcome];
        uint32_t n = last->at + last->length + 1 - first->at;
        memcpy(to, im->text + first->at, n);
        to += n;
    } else
        to = copy_uncounted_entries(c, 0, constants, options->client, to);
    if (!counters) return copy_uncounted_entries(c, constants, im->flag_count, options->client, to);
    return copy_independent_entries(c, constants, im->flag_count, options->client, counters, to);
}

/* Members of a reply's metadata, and two closing braces. */
static inline uint8_t *copy_members(const Image *im, const Options *options, uint8_t *to) {
    uint32_t n = im->header->metadata_length;
    memcpy(to, im->text + im->header->metadata_at, n);
    to += n;
    if (options->stale) to = copy_number(copy_word(to, n ? ",\"ageSeconds\":" : "\"ageSeconds\":"), options->age);
    return copy_word(to, "}}");
}

static inline uint8_t *copy_metadata(const Image *im, const Options *options, uint8_t *to) {
    return copy_members(im, options, copy_word(to, ",\"metadata\":{"));
}

/* One flag as an OFREP single answer: its fragment, with the metadata of the flag set. */
static inline uint8_t *copy_single(const Image *im, uint32_t index, uint32_t outcome, const Options *options, uint8_t *to) {
    const Flag *flag = &im->flags[index];
    if (options->counts) count(options->counts->counters, im, index, outcome);
    to = copy_entry(im, flag, outcome, options->stale, to);
    if (outcome == NO_OUTCOME || !(im->outcomes[outcome].bits & OUTCOME_METADATA)) return copy_metadata(im, options, to - 1);
    to[-2] = ','; /* …"metadata":{…}} */
    return copy_members(im, options, to - 1);
}

/* An OFREP failure of a whole request; `key` NULL for bulk. The body's own text is never repeated. */
static inline uint8_t *copy_failure(const Reader *r, const uint8_t *key, uint32_t key_length, uint8_t *to) {
    to = copy_word(to, "{");
    if (key) {
        to = copy_word(to, "\"key\":\"");
        memcpy(to, key, key_length);
        to = copy_word(to + key_length, "\",");
    }
    to = copy_word(to, "\"errorCode\":\"");
    to = copy_word(to, r->error == READ_REQUEST ? "INVALID_CONTEXT" : "PARSE_ERROR");
    to = copy_word(to, "\",\"errorDetails\":\"");
    to = copy_word(to, r->error == READ_REQUEST ? r->reason : read_error_text(r->error));
    to = copy_word(to, ", at byte ");
    to = copy_number(to, (uint64_t)(r->at - r->start));
    return copy_word(to, "\"}");
}

/* What an answer for all flags depends on, beside the snapshot: classes, predicates and bucketing keys. */
static inline uint64_t context_digest(Context *c) {
    const Image *im = c->image;
    for (uint32_t s = 0; s < im->slot_count; s++) class_of(c, (uint16_t)s);
    for (uint32_t p = 0; p < im->predicate_count; p++) truth_of(c, p);
    uint64_t digest = hash64((const uint8_t *)c->classes, im->slot_count * 2);
    digest = hash64_seeded(c->truths, im->predicate_count, digest);
    for (uint32_t i = 0; i < im->split_count; i++) {
        uint16_t node = im->splits[i].node;
        const Value *v = &c->values[node];
        uint64_t hash;
        if (i && node == im->splits[i - 1].node) continue;
        if ((v->kind == KIND_STRING && v->length == 0) || !key_hash(c, node, &hash)) hash = 1;
        digest = mix64(digest ^ hash ^ (uint64_t)node << 48);
    }
    return digest;
}

#endif
