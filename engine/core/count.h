/* How often each outcome was answered, once somebody wants to know (Snapshot.start_counting, take_counts).
 *
 *   counters:  one per outcome | one per flag that is not a constant: TARGETING_KEY_MISSING
 *
 * Constants are in every answer for all flags, so there it is answers that are counted; `settle` gives them to each constant. */
#ifndef BURGEE_COUNT_H
#define BURGEE_COUNT_H

#include "values.h"

typedef struct {
    uint64_t *counters;  /* NULL: nothing is counted */
    uint64_t all, shown; /* answers for all flags since `settle`: with every constant, and with the client-visible ones */
} Counts;

static inline size_t counter_count(const Image *im) {
    return (size_t)im->outcome_count + im->flag_count - im->header->constant_count;
}

static inline int counts_create(Counts *counts, const Image *im) {
    *counts = (Counts){.counters = calloc(counter_count(im) + 1, sizeof(uint64_t))};
    return counts->counters ? 0 : -1;
}

static inline void counts_free(Counts *counts) {
    free(counts->counters);
    counts->counters = NULL;
}

static inline size_t error_counter(const Image *im, uint32_t flag) {
    return (size_t)im->outcome_count + flag - im->header->constant_count;
}

static inline void count(uint64_t *counters, const Image *im, uint32_t flag, uint32_t outcome) {
    counters[outcome == NO_OUTCOME ? error_counter(im, flag) : outcome]++;
}

/* The constants of one answer for all flags. */
static inline void count_constants(Counts *counts, int client) {
    if (client) counts->shown++; else counts->all++;
}

static inline void settle(Counts *counts, const Image *im) {
    for (uint32_t i = 0; i < im->header->constant_count; i++) {
        const Flag *flag = &im->flags[i];
        counts->counters[flag->first_outcome] += counts->all + (flag->bits & FLAG_CLIENT_VISIBLE ? counts->shown : 0);
    }
    counts->all = counts->shown = 0;
}

static inline void add_counts(Counts *to, const Counts *from, const Image *im) {
    for (size_t i = 0; i < counter_count(im); i++) to->counters[i] += from->counters[i];
    to->all += from->all;
    to->shown += from->shown;
}

/* What a counter has, which then starts again. */
static inline uint64_t take_counter(Counts *counts, size_t index) {
    uint64_t n = counts->counters[index];
    counts->counters[index] = 0;
    return n;
}

#endif
