/* UTF-8, well-formed as of Unicode 15 table 3-7: no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef BURGEE_UTF8_H
#define BURGEE_UTF8_H

#include "hash.h"

/* The first byte that does not belong, or `n`. */
static inline size_t utf8_error_at(const uint8_t *s, size_t n) {
    size_t i = 0;
    for (;;) {
        while (i + 8 <= n && !(load64(s + i) & 0x8080808080808080ull)) i += 8;
        while (i < n && s[i] < 0x80) i++;
        if (i == n) return n;
        uint8_t b = s[i], low = 0x80, high = 0xBF;
        int more;
        if (b >= 0xC2 && b <= 0xDF) more = 1;
        else if (b >= 0xE0 && b <= 0xEF) {
            more = 2;
            if (b == 0xE0) low = 0xA0;
            if (b == 0xED) high = 0x9F;
        } else if (b >= 0xF0 && b <= 0xF4) {
            more = 3;
            if (b == 0xF0) low = 0x90;
            if (b == 0xF4) high = 0x8F;
        } else return i;
        if (n - i <= (size_t)more) return i;
        if (s[i + 1] < low || s[i + 1] > high) return i;
        for (int k = 2; k <= more; k++) if ((s[i + k] & 0xC0) != 0x80) return i;
        i += (size_t)more + 1;
    }
}

static inline uint32_t utf8_code_points(const uint8_t *s, uint32_t n) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < n; i++) count += (s[i] & 0xC0) != 0x80;
    return count;
}

static inline uint32_t utf8_write(uint8_t *out, uint32_t point) {
    if (point < 0x80) { out[0] = (uint8_t)point; return 1; }
    if (point < 0x800) { out[0] = (uint8_t)(0xC0 | point >> 6); out[1] = (uint8_t)(0x80 | (point & 63)); return 2; }
    if (point < 0x10000) {
        out[0] = (uint8_t)(0xE0 | point >> 12); out[1] = (uint8_t)(0x80 | (point >> 6 & 63));
        out[2] = (uint8_t)(0x80 | (point & 63));
        return 3;
    }
    out[0] = (uint8_t)(0xF0 | point >> 18); out[1] = (uint8_t)(0x80 | (point >> 12 & 63));
    out[2] = (uint8_t)(0x80 | (point >> 6 & 63)); out[3] = (uint8_t)(0x80 | (point & 63));
    return 4;
}

#endif
