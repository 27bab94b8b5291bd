/* Which outcome a flag gives a context: by its tree, or for all flags at once by the matrix (docs/snapshot.md). */
#ifndef BURGEE_DECIDE_H
#define BURGEE_DECIDE_H

#include "predicates.h"

static uint32_t decide(Context *c, uint32_t flag);

/* The outcome of a flag that other flags depend on, decided at most once. */
static inline uint32_t decided(Context *c, uint32_t flag) {
    if (c->stamps[flag] != c->stamp) {
        c->decided[flag] = decide(c, flag);
        c->stamps[flag] = c->stamp;
    }
    return c->decided[flag];
}

static inline int flag_test_holds(Context *c, const Test *t) {
    uint32_t outcome = decided(c, t->subject);
    if (outcome == NO_OUTCOME) return 0;
    const uint16_t variant = c->image->outcomes[outcome].variant, *variants = c->image->gate_variants + t->first;
    for (uint32_t i = 0; i < t->count; i++) if (variants[i] == variant) return 1;
    return 0;
}

static inline int test_holds(Context *c, const Test *t) {
    uint16_t class;
    switch (t->kind) {
    case TEST_CLASS:
        class = class_of(c, t->subject);
        return (int)(c->image->class_sets[t->first + (class >> 6)] >> (class & 63) & 1);
    case TEST_TRUE: return truth_of(c, t->subject) == TRUE;
    case TEST_FALSE: return truth_of(c, t->subject) == FALSE;
    default: return flag_test_holds(c, t);
    }
}

/* The flag's outcome for the bucket, or NO_OUTCOME: no bucketing key. */
static inline uint32_t split_outcome(Context *c, const Flag *flag, uint32_t index) {
    const Split *split = &c->image->splits[index];
    const Value *v = &c->values[split->node];
    uint64_t hash;
    if ((v->kind == KIND_STRING && v->length == 0) || !key_hash(c, split->node, &hash)) return NO_OUTCOME;
    const Range *range = c->image->ranges + split->first_range;
    uint32_t bucket = bucket_of(hash, split->salt);
    range += bucket >= range->end; /* as a number, not a branch: which of two variants it is nobody can predict */
    while (bucket >= range->end) range++;
    return flag->first_outcome + range->outcome;
}

static inline uint32_t served(Context *c, const Flag *flag, uint32_t serve) {
    if (SERVE_KIND(serve) == SERVE_OUTCOME) return flag->first_outcome + SERVE_INDEX(serve);
    return split_outcome(c, flag, SERVE_INDEX(serve));
}

static inline uint32_t unmet_prerequisite(Context *c, const Flag *flag) {
    for (uint32_t i = 0; i < flag->prerequisite_count; i++) {
        const Prerequisite *p = &c->image->prerequisites[flag->first_prerequisite + i];
        if (!flag_test_holds(c, &c->image->tests[p->test])) return flag->first_outcome + p->outcome;
    }
    return NO_OUTCOME;
}

/* ---- one flag ---- */

static inline uint32_t walk(Context *c, const Flag *flag) {
    const Image *im = c->image;
    const TreeNode *tree = im->trees + flag->first_tree;
    const uint32_t *tests = im->flag_tests + flag->first_test;
    uint32_t at = 0;
    while (at < LEAF) at = test_holds(c, &im->tests[tests[tree[at].test]]) ? tree[at].yes : tree[at].no;
    return at & ~LEAF;
}

static inline uint32_t next_bit(const uint64_t *matrix, uint32_t bit) {
    uint32_t word = bit >> 6;
    uint64_t rest = matrix[word] >> (bit & 63);
    if (rest) return bit + (uint32_t)__builtin_ctzll(rest);
    do word++; while (!matrix[word]);
    return word * 64 + (uint32_t)__builtin_ctzll(matrix[word]);
}

static inline int gates_open(Context *c, const Gated *gated) {
    for (uint32_t i = 0; i < gated->test_count; i++)
        if (!test_holds(c, &c->image->tests[c->image->flag_tests[gated->first_test + i]])) return 0;
    return 1;
}

/* The first conjunction, from the flag's first on, that holds and whose gates are open: what it serves. */
static inline uint32_t scan(Context *c, const Flag *flag) {
    for (uint32_t bit = flag->first_bit;; bit++) {
        bit = next_bit(c->matrix, bit);
        uint32_t serve = c->image->serves[bit];
        if (SERVE_KIND(serve) != SERVE_GATED) return served(c, flag, serve);
        const Gated *gated = &c->image->gated[SERVE_INDEX(serve)];
        if (gates_open(c, gated)) return served(c, flag, gated->serve);
    }
}

static void fill_matrix(Context *c, uint32_t first_word, uint32_t word_count);

/* Absolute index of the outcome, or NO_OUTCOME: TARGETING_KEY_MISSING. */
static uint32_t decide(Context *c, uint32_t index) {
    const Image *im = c->image;
    const Flag *flag = &im->flags[index];
    uint32_t outcome;
    if (flag->bit_count == 0) return flag->first_outcome;
    if (flag->prerequisite_count && (outcome = unmet_prerequisite(c, flag)) != NO_OUTCOME) return outcome;
    if (flag->tree_count || flag->bit_count == 1) {
        uint32_t serve = im->serves[flag->first_bit + (flag->tree_count ? walk(c, flag) : 0)];
        if (SERVE_KIND(serve) == SERVE_GATED) serve = im->gated[SERVE_INDEX(serve)].serve; /* the tree has asked */
        return served(c, flag, serve);
    }
    /* too large for a tree: its own words of the matrix. What it depends on first, since that may fill other words. */
    for (uint32_t i = 0; i < flag->test_count; i++) {
        const Test *t = &im->tests[im->flag_tests[flag->first_test + i]];
        if (t->kind == TEST_FLAG) flag_test_holds(c, t);
    }
    uint32_t first = flag->first_bit >> 6, last = (flag->first_bit + flag->bit_count - 1) >> 6;
    fill_matrix(c, first, last - first + 1);
    return scan(c, flag);
}

/* ---- all flags ---- */

static inline void and_words(uint64_t *restrict to, const uint64_t *restrict row, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) to[i] &= row[i];
}

/* AND the row of a slot's class into words [first, end) of the matrix. */
static inline void and_row(Context *c, const Slot *slot, uint16_t class, uint32_t first, uint32_t end) {
    const Image *im = c->image;
    const ClassRow *row = &im->class_rows[slot->first_row + class];
    uint64_t kept[MAX_PATCHES];
    uint32_t low = slot->first_word > first ? slot->first_word : first;
    uint32_t high = slot->first_word + slot->word_count < end ? slot->first_word + slot->word_count : end;
    if (low >= high) return;
    const uint64_t *words = im->rows + row->first;
    if (row->patches == DENSE) {
        and_words(c->matrix + low, words + (low - slot->first_word), high - low);
        return;
    }
    const Patch *patches = im->patches + row->first;
    for (uint32_t i = 0; i < row->patches; i++) kept[i] = c->matrix[patches[i].word];
    words = im->rows + im->class_rows[slot->first_row + slot->class_default].first;
    and_words(c->matrix + low, words + (low - slot->first_word), high - low);
    for (uint32_t i = 0; i < row->patches; i++) c->matrix[patches[i].word] = kept[i] & patches[i].bits;
}

static inline int still_asked(const Context *c, uint32_t first, uint32_t count, uint32_t first_word, uint32_t end) {
    const Patch *masks = c->image->patches + first;
    for (uint32_t i = 0; i < count; i++)
        if (masks[i].word >= first_word && masks[i].word < end && c->matrix[masks[i].word] & masks[i].bits) return 1;
    return 0;
}

static inline void strike(Context *c, uint32_t first, uint32_t count) {
    const Patch *masks = c->image->patches + first;
    for (uint32_t i = 0; i < count; i++) c->matrix[masks[i].word] &= ~masks[i].bits;
}

static void fill_matrix(Context *c, uint32_t first, uint32_t count) {
    const Image *im = c->image;
    uint32_t end = first + count;
    memset(c->matrix + first, 0xFF, count * 8);
    for (uint32_t s = 0; s < im->slot_count; s++) {
        const Slot *slot = &im->slots[s];
        if (slot->first_word >= end || slot->first_word + slot->word_count <= first) continue;
        and_row(c, slot, class_of(c, (uint16_t)s), first, end);
    }
    for (uint32_t i = 0; i < im->predicate_count; i++) {
        const Predicate *p = &im->predicates[i];
        if (!still_asked(c, p->first_true, p->true_count, first, end) &&
            !still_asked(c, p->first_false, p->false_count, first, end))
            continue;
        int truth = truth_of(c, i);
        if (truth != TRUE) strike(c, p->first_true, p->true_count);
        if (truth != FALSE) strike(c, p->first_false, p->false_count);
    }
}

/* One flag after fill_matrix over all words, those it depends on before it. */
static inline uint32_t decide_in_matrix(Context *c, uint32_t index) {
    const Flag *flag = &c->image->flags[index];
    uint32_t outcome;
    if (flag->prerequisite_count && (outcome = unmet_prerequisite(c, flag)) != NO_OUTCOME) return outcome;
    return scan(c, flag);
}

#endif
