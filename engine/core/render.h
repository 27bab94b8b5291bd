/* Answers as bytes: fragments copied, nothing formatted that the compiler could format. Callers make room first
 * (image.answer_bound and the *_ROOM constants); every copy may write up to COPY_SLACK bytes past its end. */
#ifndef BURGEE_RENDER_H
#define BURGEE_RENDER_H

#include "decide.h"
#include "reader.h"

#define COPY_SLACK 64
#define ENTRY_ROOM 512 /* brackets, an error, a count */

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

static inline uint8_t *copy_entry(const Image *im, const Flag *flag, uint32_t outcome, uint8_t *to) {
    if (outcome == NO_OUTCOME) return copy_missing_key(im, flag, to);
    const Outcome *o = &im->outcomes[outcome];
    return copy_text(to, im->text + o->at, o->length);
}

static inline void remember(Context *c, uint32_t flag, uint32_t outcome) {
    c->decided[flag] = outcome;
    c->stamps[flag] = c->stamp;
}

/* Entries of flags [first, end), none of which depends on another, each followed by a comma. The hot loop of bulk answers: its
 * pointers are locals, since every byte written might otherwise alias the Image (1,000 flags: from 2.6 to 2.0 times the C control). */
static inline uint8_t *copy_independent_entries(Context *c, uint32_t first, uint32_t end, int client, uint8_t *to) {
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
        if (outcome == NO_OUTCOME) to = copy_missing_key(im, flag, to);
        else to = copy_text(to, text + outcomes[outcome].at, outcomes[outcome].length);
        *to++ = ',';
    }
    return to;
}

/* Entries of all flags, each followed by a comma; fill_matrix first. */
static inline uint8_t *copy_all_entries(Context *c, int client, uint8_t *to) {
    const Image *im = c->image;
    uint32_t constants = im->header->constant_count;
    if (!im->depends) {
        if (constants && !client) {
            const Outcome *first = &im->outcomes[im->flags[0].first_outcome];
            const Outcome *last = &im->outcomes[im->flags[constants - 1].first_outcome];
            uint32_t n = last->at + last->length + 1 - first->at;
            memcpy(to, im->text + first->at, n);
            return copy_independent_entries(c, constants, im->flag_count, 0, to + n);
        }
        return copy_independent_entries(c, 0, im->flag_count, client, to);
    }
    for (uint32_t i = 0; i < im->flag_count; i++) {
        const Flag *flag = &im->flags[i];
        uint32_t outcome = flag->bit_count ? decide_in_matrix(c, i) : flag->first_outcome;
        remember(c, i, outcome);
        if (client && !(flag->bits & FLAG_CLIENT_VISIBLE)) continue;
        to = copy_entry(im, flag, outcome, to);
        *to++ = ',';
    }
    return to;
}

static inline uint8_t *copy_metadata(const Image *im, uint8_t *to) {
    to = copy_word(to, ",\"metadata\":{");
    memcpy(to, im->text + im->header->metadata_at, im->header->metadata_length);
    return copy_word(to + im->header->metadata_length, "}}");
}

/* One flag as an OFREP single answer: its fragment, with the metadata of the flag set. */
static inline uint8_t *copy_single(const Image *im, const Flag *flag, uint32_t outcome, uint8_t *to) {
    if (outcome != NO_OUTCOME && im->outcomes[outcome].bits & OUTCOME_METADATA) {
        to = copy_entry(im, flag, outcome, to) - 2; /* …"metadata":{…}} */
        *to++ = ',';
        memcpy(to, im->text + im->header->metadata_at, im->header->metadata_length);
        return copy_word(to + im->header->metadata_length, "}}");
    }
    to = copy_entry(im, flag, outcome, to) - 1;
    return copy_metadata(im, to);
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
