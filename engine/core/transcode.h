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

static inline uint8_t *put_integer(uint8_t *to, int64_t n) {
    if (n >= 0) {
        if (n < 128) { *to++ = (uint8_t)n; return to; }
        if (n < 256) return put_big(to, 0xCC, (uint64_t)n, 1);
        if (n < 65536) return put_big(to, 0xCD, (uint64_t)n, 2);
        if (n <= 0xFFFFFFFFll) return put_big(to, 0xCE, (uint64_t)n, 4);
        return put_big(to, 0xCF, (uint64_t)n, 8);
    }
    if (n >= -32) { *to++ = (uint8_t)n; return to; }
    return put_big(to, 0xD3, (uint64_t)n, 8);
}

static inline uint8_t *put_number(Reader *r, uint8_t *to) {
    const uint8_t *start = r->p;
    Value v;
    if (read_number(r, &v)) return NULL;
    int is_integer = v.kind == KIND_NUMBER && is_exact_integer(v.number);
    for (const uint8_t *p = start; p < r->p; p++) if (*p == '.' || *p == 'e' || *p == 'E') is_integer = 0;
    if (is_integer) return put_integer(to, (int64_t)v.number);
    uint64_t bits;
    memcpy(&bits, &v.number, 8);
    return put_big(to, 0xCB, bits, 8);
}

/* Values may be nested as deep as a document may be, below the reply's own brackets: hence the depth below zero. */
static inline void open_reply(Reader *r, const uint8_t *reply, size_t n, Arena *arena) {
    *r = (Reader){.start = reply, .p = reply, .end = reply + n, .arena = arena, .depth = -MAX_DEPTH};
}

/* Room for a JSON text of n bytes: `[]` grows to five bytes, `1.5` to nine. */
static inline size_t transcode_bound(size_t n) { return 5 * n + 16; }

static uint8_t *transcode(Reader *r, uint8_t *to) {
    const uint8_t *text;
    uint32_t length, count = 0;
    switch (*r->p) {
    case '"':
        if (read_string(r, &text, &length)) return NULL;
        return put_string(to, text, length);
    case 't': r->p += 4; *to++ = 0xC3; return to;
    case 'f': r->p += 5; *to++ = 0xC2; return to;
    case 'n': r->p += 4; *to++ = 0xC0; return to;
    case '[': case '{': {
        int is_object = *r->p == '{';
        uint8_t close = is_object ? '}' : ']', *head = to;
        to += 5;
        if (read_enter(r)) return NULL;
        int more = !read_empty(r, close);
        while (more) {
            if (is_object) {
                if (read_string(r, &text, &length)) return NULL;
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
