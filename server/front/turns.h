/* How long requests wait in this process, seen from within: turns of the event loop.
 *
 *   the loop wakes, finds 300 connections with a request   ->   a turn: they are answered one after the other, then all is written
 *
 * What has arrived is taken up once a turn, so the time that this turn has taken already is what the next request of it has waited, and
 * what it will still take is what others wait meanwhile. A burst makes one long turn, or a few. Turns that are long again and again are
 * a server that has more to do than it can; then, and only then, a turn gets no longer than it may: what is left of it is shed.
 * The idea is CoDel's (RFC 8289): look at the time in the queue, not at its length, and at its minimum, not at its average.
 *
 * To see the end of a turn costs a callback, so short turns are looked at now and then; after a long one, each is. */
#ifndef BURGEE_TURNS_H
#define BURGEE_TURNS_H

#include <stdint.h>

#define PATIENCE 50000000  /* ns that turns must have been long without one that was not */
#define BRIEF 1000000      /* ns; after a turn that was no longer … */
#define PAUSE 2000000      /* … the next ones are not looked at for so long */
#define FEW 4              /* requests of a turn that are always answered: so few are no queue, however long they take */
#define DEAR 50000         /* ns. To shed a request that takes less is less of a gain, since most of it is to read and to write … */
#define RELUCTANCE 10      /* … so turns may be longer then, up to this many times; what takes less than that part of it is answered */

typedef struct {
    int64_t target;     /* ns that a turn may take; 0: no limit */
    int64_t begun;      /* this turn, or the last one; ns of CLOCK_MONOTONIC, and so in the next ones */
    int64_t ended;      /* the last turn that was looked at */
    int64_t length;     /* ns that it took */
    int64_t long_since; /* the first of the long turns in a row began; 0: the last one was not long */
    int64_t fair;       /* ns of this turn that went to tenants within their share */
    uint32_t answered, shed; /* requests of this turn */
    int open;           /* a turn is being looked at */
    int overloaded;
} Turns;

static inline int is_worth_a_look(const Turns *t, int64_t now) {
    return t->length > BRIEF || now - t->ended > PAUSE;
}

/* The loop has woken, or goes on with what was put off. */
static inline void begin_turn(Turns *t, int64_t now) {
    if (now - t->ended > t->target) { /* it has slept: nothing was waiting */
        t->long_since = 0;
        t->overloaded = 0;
    }
    t->begun = now;
    t->open = 1;
    t->fair = 0;
    t->answered = t->shed = 0;
}

static inline void end_turn(Turns *t, int64_t now) {
    t->open = 0;
    t->ended = now;
    t->length = now - t->begun;
    if (!t->shed && (t->length <= t->target || t->answered <= FEW)) {
        t->long_since = 0;
        t->overloaded = 0;
    } else if (!t->long_since) {
        t->long_since = t->begun;
    }
}

/* Is the next request of this turn to be shed? `greedy`: its tenant uses more than its share. `cost`: ns that such requests take. */
static inline int is_too_much(Turns *t, int64_t now, int greedy, int64_t cost) {
    int64_t target = t->target;
    if (!t->open || now - t->begun <= target || t->answered < FEW || !target) return 0;
    if (cost < DEAR) {
        if (cost * RELUCTANCE < DEAR) return 0;
        target *= (double)DEAR / cost;
        if (now - t->begun <= target) return 0;
    }
    if (!t->overloaded) {
        if (now - (t->long_since ? t->long_since : t->begun) < PATIENCE) return 0;
        t->overloaded = 1;
    }
    if (!greedy && t->fair <= target) return 0;
    t->shed++;
    return 1;
}

static inline void took(Turns *t, int64_t spent, int greedy) {
    t->answered++;
    if (!greedy) t->fair += spent;
}

#endif
