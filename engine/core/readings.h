/* Strings and numbers read as ordered 128-bit keys: versions, times, addresses (docs/semantics.md; keys in format.h, Point).
 *
 *   "2.10.0-rc.1"  ->  {hi: 2 << 32 | 10, lo: 0, text: "rc.1"} */
#ifndef BURGEE_READINGS_H
#define BURGEE_READINGS_H

#include <arpa/inet.h>
#include "utf8.h"
#include "values.h"

typedef struct {
    uint64_t hi, lo;
    const uint8_t *text; /* of a pre-release, else NULL */
    uint32_t length;
} Key;

#define SIGN_BIT (1ull << 63)

static inline Key number_key(double x) {
    uint64_t bits;
    if (x == 0) x = 0; /* -0 */
    memcpy(&bits, &x, 8);
    return (Key){bits & SIGN_BIT ? ~bits : bits | SIGN_BIT, 0, NULL, 0};
}

static inline Key time_key(int64_t microseconds) { return (Key){(uint64_t)microseconds ^ SIGN_BIT, 0, NULL, 0}; }

/* ---- versions ---- */

static inline int is_digit(uint8_t b) { return b >= '0' && b <= '9'; }
static inline int is_identifier(uint8_t b) {
    return is_digit(b) || (b >= 'A' && b <= 'Z') || (b >= 'a' && b <= 'z') || b == '-';
}

/* Dot-separated identifiers, each non-empty; numeric ones without leading zeros where `strict`. The end, or NULL. */
static inline const uint8_t *semver_identifiers(const uint8_t *p, const uint8_t *end, int strict) {
    for (;;) {
        const uint8_t *start = p;
        int numeric = 1;
        while (p < end && is_identifier(*p)) numeric &= is_digit(*p++);
        if (p == start || (strict && numeric && p - start > 1 && *start == '0')) return NULL;
        if (p == end || *p != '.') return p;
        p++;
    }
}

static inline int read_semver(const uint8_t *p, uint32_t n, Key *key) {
    const uint8_t *end = p + n;
    uint64_t part[3] = {0, 0, 0};
    int parts = 0;
    if (p < end && *p == 'v') p++;
    for (;;) {
        const uint8_t *start = p;
        uint64_t value = 0;
        while (p < end && is_digit(*p) && p - start < 10) value = value * 10 + (uint64_t)(*p++ - '0');
        if (p == start || (p < end && is_digit(*p)) || (p - start > 1 && *start == '0') || value >= 0xFFFFFFFFull) return 0;
        part[parts++] = value;
        if (parts == 3 || p == end || *p != '.') break;
        p++;
    }
    *key = (Key){part[0] << 32 | part[1], part[2] << 32 | 0xFFFFFFFFull, NULL, 0};
    if (p < end && *p == '-') {
        const uint8_t *start = ++p;
        if (parts < 3 || !(p = semver_identifiers(p, end, 1))) return 0;
        key->lo = part[2] << 32;
        key->text = start;
        key->length = (uint32_t)(p - start);
    }
    if (p < end && *p == '+' && !(p = semver_identifiers(p + 1, end, 0))) return 0;
    return p == end;
}

/* SemVer 2.0.0 section 11.4. Both are well-formed pre-releases. */
static inline int compare_prerelease(const uint8_t *a, uint32_t an, const uint8_t *b, uint32_t bn) {
    const uint8_t *ae = a + an, *be = b + bn;
    for (;;) {
        const uint8_t *as = a, *bs = b;
        int a_numeric = 1, b_numeric = 1;
        while (a < ae && *a != '.') a_numeric &= is_digit(*a++);
        while (b < be && *b != '.') b_numeric &= is_digit(*b++);
        size_t al = (size_t)(a - as), bl = (size_t)(b - bs);
        if (a_numeric != b_numeric) return a_numeric ? -1 : 1;
        if (a_numeric && al != bl) return al < bl ? -1 : 1;
        int order = memcmp(as, bs, al < bl ? al : bl);
        if (order) return order < 0 ? -1 : 1;
        if (al != bl) return al < bl ? -1 : 1;
        if (a == ae || b == be) return a == ae ? (b == be ? 0 : -1) : 1;
        a++, b++;
    }
}

static inline int compare_keys(const Key *a, const Key *b) {
    if (a->hi != b->hi) return a->hi < b->hi ? -1 : 1;
    if (a->lo != b->lo) return a->lo < b->lo ? -1 : 1;
    return a->text && b->text ? compare_prerelease(a->text, a->length, b->text, b->length) : 0;
}

/* ---- times ---- */

static inline int two_digits(const uint8_t *p, int *value) {
    if (!is_digit(p[0]) || !is_digit(p[1])) return 0;
    *value = (p[0] - '0') * 10 + (p[1] - '0');
    return 1;
}

/* Days since 1970-01-01 of a proleptic Gregorian date (Howard Hinnant, days_from_civil). */
static inline int64_t days_of(int year, int month, int day) {
    int64_t y = year - (month <= 2), era = (y >= 0 ? y : y - 399) / 400;
    int64_t yoe = y - era * 400, doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

/* RFC 3339: 2026-11-22T10:00:00.123456+01:00 -> microseconds since the epoch. */
static inline int read_timestamp(const uint8_t *p, uint32_t n, int64_t *microseconds) {
    static const uint8_t month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int century, year, month, day, hour, minute, second, zone_hour = 0, zone_minute = 0, zone_sign = 0;
    if (n < 20 || !two_digits(p, &century) || !two_digits(p + 2, &year) || p[4] != '-' || !two_digits(p + 5, &month) ||
        p[7] != '-' || !two_digits(p + 8, &day) || (p[10] != 'T' && p[10] != 't') || !two_digits(p + 11, &hour) ||
        p[13] != ':' || !two_digits(p + 14, &minute) || p[16] != ':' || !two_digits(p + 17, &second))
        return 0;
    year += century * 100;
    int leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    if (year < 1 || month < 1 || month > 12 || day < 1 || day > month_days[month - 1] + (month == 2 && leap) ||
        hour > 23 || minute > 59 || second > 59)
        return 0;
    const uint8_t *end = p + n;
    int64_t fraction = 0, scale = 100000;
    p += 19;
    if (*p == '.') {
        const uint8_t *start = ++p;
        for (; p < end && is_digit(*p); p++, scale /= 10) fraction += scale * (*p - '0');
        if (p == start) return 0;
    }
    if (p == end) return 0;
    if (*p == 'Z' || *p == 'z') p++;
    else {
        if ((*p != '+' && *p != '-') || end - p < 6 || !two_digits(p + 1, &zone_hour) || p[3] != ':' ||
            !two_digits(p + 4, &zone_minute) || zone_hour > 23 || zone_minute > 59)
            return 0;
        zone_sign = *p == '+' ? -1 : 1;
        p += 6;
    }
    if (p != end) return 0;
    int64_t seconds = days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second +
                      zone_sign * (zone_hour * 3600 + zone_minute * 60);
    *microseconds = seconds * 1000000 + fraction;
    return 1;
}

/* ---- addresses ---- */

static inline int read_ip(const uint8_t *p, uint32_t n, Key *key) {
    char text[INET6_ADDRSTRLEN];
    uint8_t bytes[16] = {0};
    if (n == 0 || n >= sizeof text || memchr(p, 0, n)) return 0;
    memcpy(text, p, n);
    text[n] = 0;
    if (memchr(p, ':', n)) {
        if (inet_pton(AF_INET6, text, bytes) != 1) return 0;
    } else {
        if (inet_pton(AF_INET, text, bytes + 12) != 1) return 0;
        bytes[10] = bytes[11] = 0xFF;
    }
    *key = (Key){__builtin_bswap64(load64(bytes)), __builtin_bswap64(load64(bytes + 8)), NULL, 0};
    return 1;
}

/* ---- a value, via ---- */

#define MAX_EPOCH_SECONDS 1e11

/* The ordered key of a value, or 0 when it cannot be read so. VALUE reads numbers only. */
static inline int key_of(const Value *v, int via, int64_t now, Key *key) {
    int64_t microseconds;
    switch (via) {
    case VIA_VALUE:
        if (v->kind != KIND_NUMBER) return 0;
        *key = number_key(v->number);
        return 1;
    case VIA_SIZE:
        if (v->kind == KIND_STRING) *key = number_key(utf8_code_points(v->text, v->length));
        else if (v->kind == KIND_LIST || v->kind == KIND_OBJECT) *key = number_key(v->length);
        else return 0;
        return 1;
    case VIA_SEMVER:
        return v->kind == KIND_STRING && read_semver(v->text, v->length, key);
    case VIA_TIMESTAMP:
        if (v->kind == KIND_NUMBER && v->number >= -MAX_EPOCH_SECONDS && v->number <= MAX_EPOCH_SECONDS)
            microseconds = (int64_t)floor(v->number * 1e6);
        else if (v->kind != KIND_STRING || !read_timestamp(v->text, v->length, &microseconds))
            return 0;
        *key = time_key(microseconds);
        return 1;
    case VIA_IP:
        return v->kind == KIND_STRING && read_ip(v->text, v->length, key);
    case VIA_NOW:
        *key = time_key(now);
        return 1;
    }
    return 0;
}

static inline uint8_t lowered(uint8_t b) { return b >= 'A' && b <= 'Z' ? b + 32 : b; }

/* A string via VALUE or LOWER; 0 for another kind. Lowered text is in the arena (or `stack`, of 64 bytes). */
static inline int text_of(const Value *v, int via, Arena *arena, uint8_t *stack, const uint8_t **text) {
    if (v->kind != KIND_STRING) return 0;
    *text = v->text;
    if (via != VIA_LOWER) return 1;
    uint8_t *low = v->length <= 64 ? stack : arena_take(arena, v->length);
    if (!low) return 0;
    for (uint32_t i = 0; i < v->length; i++) low[i] = lowered(v->text[i]);
    *text = low;
    return 1;
}

#endif
