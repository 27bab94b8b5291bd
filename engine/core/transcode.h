/* A reply of ours, written as JSON, to MessagePack: the same structures. Lists and objects of more than 15 members get 32-bit counts,
 * filled in when they are known. Needs at most `transcode_bound` bytes. */
#ifndef BURGEE_TRANSCODE_H
#define BURGEE_TRANSCODE_H

#include "reader.h"

static inline uint8_t *put_big(uint8_t *to, uint8_t lead, uint64_t n, int bytes) {
    *to++ = lead;
    for (int i = bytes - 1; i >= 0; i--) *to++ = (uint8_t)(n >> (8 * i));
    return to;
}

static inline uint8_t *put_string(uint8_t *to, const uint8_t *text, uint32_t n) {
    if (n < 32) *to++ = (uint8_t)(0xA0 | n);
    else if (n < 256) to = put_big(to, 0xD9, n, 1);
    else if (n < 65536) to = put_big(to, 0xDA, n, 2);
    else to = put_big(to, 0xDB, n, 4);
    memcpy(to, text, n);
    return to + n;
}

static inline uint8_t *put_integer(uint8_t *to, uint64_t n) {
    if (n < 128) { *to++ = (uint8_t)n; return to; }
    if (n < 256) return put_big(to, 0xCC, n, 1);
    if (n < 65536) return put_big(to, 0xCD, n, 2);
    if (n <= 0xFFFFFFFFull) return put_big(to, 0xCE, n, 4);
    return put_big(to, 0xCF, n, 8);
}

static inline uint8_t *put_negative(uint8_t *to, uint64_t magnitude) {
    if (magnitude <= 32) { *to++ = (uint8_t)-magnitude; return to; }
    return put_big(to, 0xD3, -magnitude, 8);
}

/* Of a value that a flag gives, not of a context: integers as far as MessagePack has them, of any length. */
static inline uint8_t *put_number(Reader *r, uint8_t *to) {
    const uint8_t *p = r->p;
    int negative = *p == '-', fits = 1;
    uint64_t magnitude = 0, bits;
    p += negative;
    if (!is_digit(*p)) return NULL;
    for (; is_digit(*p); p++) {
        fits &= !__builtin_mul_overflow(magnitude, 10u, &magnitude);
        fits &= !__builtin_add_overflow(magnitude, (uint64_t)(*p - '0'), &magnitude);
    }
    if (fits && *p != '.' && *p != 'e' && *p != 'E' && magnitude <= (negative ? 1ull << 63 : UINT64_MAX)) {
        r->p = p;
        return negative && magnitude ? put_negative(to, magnitude) : put_integer(to, magnitude);
    }
    char *end;
    double x = PyOS_string_to_double((const char *)r->p, &end, NULL); /* overflow gives an infinity */
    r->p = (const uint8_t *)end;
    memcpy(&bits, &x, 8);
    return put_big(to, 0xCB, bits, 8);
}

/* Values may be nested as deep as a document may be, below the reply's own brackets: hence the depth below zero. */
static inline void open_reply(Reader *r, const uint8_t *reply, size_t n, Arena *arena) {
    *r = (Reader){.start = reply, .p = reply, .end = reply + n, .arena = arena, .depth = -MAX_DEPTH};
}

/* Room for a JSON text of n bytes: `[` grows to five bytes, `1.5` to nine. */
static inline size_t transcode_bound(size_t n) { return 5 * n + 16; }

/* NULL: not JSON (a fragment is what nobody verified), or out of memory. */
static uint8_t *transcode(Reader *r, uint8_t *to) {
    const uint8_t *text;
    uint32_t length, count = 0;
    Value word;
    switch (*r->p) {
    case '"':
        if (read_string(r, &text, &length)) return NULL;
        return put_string(to, text, length);
    case 't': if (read_word(r, "true", 4, 0, &word)) return NULL; *to++ = 0xC3; return to;
    case 'f': if (read_word(r, "false", 5, 0, &word)) return NULL; *to++ = 0xC2; return to;
    case 'n': if (read_word(r, "null", 4, 0, &word)) return NULL; *to++ = 0xC0; return to;
    case '[': case '{': {
        int is_object = *r->p == '{';
        uint8_t close = is_object ? '}' : ']', *head = to;
        to += 5;
        if (read_enter(r)) return NULL;
        int more = !read_empty(r, close);
        while (more) {
            if (is_object) {
                if (*r->p != '"' || read_string(r, &text, &length)) return NULL;
                to = put_string(to, text, length);
                skip_space(r);
                if (expect(r, ':')) return NULL;
                skip_space(r);
            }
            if (!(to = transcode(r, to))) return NULL;
            count++;
            if ((more = read_next(r, close)) < 0) return NULL;
        }
        r->depth--;
        if (count < 16) { /* the short head: move what follows it */
            memmove(head + 1, head + 5, (size_t)(to - head - 5));
            *head = (uint8_t)((is_object ? 0x80 : 0x90) | count);
            return to - 4;
        }
        put_big(head, is_object ? 0xDF : 0xDD, count, 4);
        return to;
    }
    default: return put_number(r, to);
    }
}

#endif
