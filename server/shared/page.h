/* The memory that supervisor, agent and workers share. Made before they are forked; every field has one writer, or is atomic.
 *
 *   Header | Block per process | Cell per tenant and project | Usage per process and cell
 *
 * Most of it is never touched, and pages that are not touched cost nothing. */
#ifndef BURGEE_PAGE_H
#define BURGEE_PAGE_H

#include <stdint.h>
#include <time.h>

#define ROUTES 6
#define STATUSES 20
#define TIMES 18 /* buckets of a histogram, the last unbounded */
#define REASONS 8
#define CELL_BITS 18
#define CELLS (1u << CELL_BITS) /* names; the first is for those that found no place */

typedef struct {
    uint64_t position;   /* of the journal: file number << 48 | end in bytes. What is before it is committed. The agent's */
    double confirmed_at; /* CLOCK_MONOTONIC, seconds: the sources were last looked at. The agent's */
    uint32_t ready;      /* every source has been tried, or what is on disk is served. The agent's */
    uint32_t draining;   /* the supervisor's */
    uint64_t spare[5];
} Header; /* one cache line */

typedef struct {
    uint64_t pid;        /* 0: of nobody */
    uint64_t position;   /* that this process has applied */
    double started_at;   /* seconds since the epoch */
    double heartbeat;    /* CLOCK_MONOTONIC, seconds */
    int64_t connections, in_flight, streams, mapped, mapped_bytes; /* now */
    uint64_t requests[ROUTES][STATUSES], times[ROUTES][TIMES];
    double seconds[ROUTES];
    uint64_t refused_keys[REASONS], limited[REASONS], shed[ROUTES];
    uint64_t evaluations, maps, map_failures, evictions;
    int64_t overloaded;  /* now: 1 while it sheds */
    int64_t slot;        /* of this worker */
} Block; /* counters only ever grow, from one process of the block to the next */

typedef struct {
    uint64_t name;         /* its hash; 0: free */
    int64_t requests_at;   /* GCRA: theoretical arrival time of the next request, ns of CLOCK_MONOTONIC */
    int64_t evaluations_at;
    double behind_since;   /* of a project: CLOCK_MONOTONIC, seconds; 0: it is not. The agent's */
} Cell;

typedef struct {
    uint32_t bytes;   /* of bodies being read */
    uint32_t streams;
} Usage; /* by one process, for one tenant */

/* CLOCK_MONOTONIC, which all processes of a host share. */
static inline int64_t nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* The cell of a name; the first cell when there is no room. Any process may be the one that takes it. */
static inline uint32_t cell_of(Cell *cells, uint64_t name) {
    if (name == 0) name = 1;
    for (uint32_t step = 0; step < 64; step++) {
        uint32_t at = (uint32_t)((name >> (64 - CELL_BITS)) + step) & (CELLS - 1);
        if (at == 0) continue;
        uint64_t found = __atomic_load_n(&cells[at].name, __ATOMIC_ACQUIRE);
        if (found == 0 && __atomic_compare_exchange_n(&cells[at].name, &found, name, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) return at;
        if (found == name) return at;
    }
    return 0;
}

/* The generic cell rate algorithm (ITU-T I.371): a token bucket in one word. Takes `cost` ns of the rate and returns 0, or takes
 * nothing and returns the ns until it could. `burst` is how far ahead of the clock the word may be. */
static inline int64_t take_from(int64_t *at, int64_t now, int64_t cost, int64_t burst) {
    int64_t seen = __atomic_load_n(at, __ATOMIC_RELAXED);
    for (;;) {
        int64_t next = (seen > now ? seen : now) + cost;
        if (next - now > burst) return next - now - burst;
        if (__atomic_compare_exchange_n(at, &seen, next, 1, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) return 0;
    }
}

/* Takes what has been used already, however far ahead that is. */
static inline void charge_to(int64_t *at, int64_t now, int64_t cost) {
    int64_t seen = __atomic_load_n(at, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(at, &seen, (seen > now ? seen : now) + cost, 1, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {}
}

#endif
