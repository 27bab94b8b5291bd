/* XXH64 (Yann Collet, https://github.com/Cyan4973/xxHash, specification 0.1.1) and the bucket built on it.
 *
 *   "user-1", salt "checkout"  ->  bucket 0 … 99,999   (docs/semantics.md; vectors in tests/spec/) */
#ifndef BURGEE_HASH_H
#define BURGEE_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define P1 0x9E3779B185EBCA87ull
#define P2 0xC2B2AE3D27D4EB4Full
#define P3 0x165667B19E3779F9ull
#define P4 0x85EBCA77C2B2AE63ull
#define P5 0x27D4EB2F165667C5ull

static inline uint64_t rotl64(uint64_t x, int r) { return (x << r) | (x >> (64 - r)); }
static inline uint64_t load64(const uint8_t *p) { uint64_t v; memcpy(&v, p, 8); return v; }
static inline uint32_t load32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return v; }
static inline uint64_t xxh_round(uint64_t acc, uint64_t lane) { return rotl64(acc + lane * P2, 31) * P1; }
static inline uint64_t xxh_merge(uint64_t acc, uint64_t v) { return (acc ^ xxh_round(0, v)) * P1 + P4; }

static inline uint64_t hash64_seeded(const uint8_t *p, size_t n, uint64_t seed) {
    uint64_t h;
    size_t left = n;
    if (n >= 32) {
        uint64_t a = seed + P1 + P2, b = seed + P2, c = seed, d = seed - P1;
        for (; left >= 32; p += 32, left -= 32) {
            a = xxh_round(a, load64(p));
            b = xxh_round(b, load64(p + 8));
            c = xxh_round(c, load64(p + 16));
            d = xxh_round(d, load64(p + 24));
        }
        h = rotl64(a, 1) + rotl64(b, 7) + rotl64(c, 12) + rotl64(d, 18);
        h = xxh_merge(xxh_merge(xxh_merge(xxh_merge(h, a), b), c), d);
    } else {
        h = seed + P5;
    }
    h += n;
    for (; left >= 8; p += 8, left -= 8) h = rotl64(h ^ xxh_round(0, load64(p)), 27) * P1 + P4;
    if (left >= 4) {
        h = rotl64(h ^ load32(p) * P1, 23) * P2 + P3;
        p += 4;
        left -= 4;
    }
    for (; left; p++, left--) h = rotl64(h ^ *p * P5, 11) * P1;
    h = (h ^ h >> 33) * P2;
    h = (h ^ h >> 29) * P3;
    return h ^ h >> 32;
}

static inline uint64_t hash64(const uint8_t *p, size_t n) { return hash64_seeded(p, n, 0); }

/* The finaliser of MurmurHash3 (Austin Appleby). */
static inline uint64_t mix64(uint64_t x) {
    x = (x ^ x >> 33) * 0xff51afd7ed558ccdull;
    x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53ull;
    return x ^ x >> 33;
}

static inline uint32_t bucket_of(uint64_t key_hash, uint64_t salt_hash) {
    return (uint32_t)((unsigned __int128)mix64(key_hash ^ salt_hash) * 100000u >> 64);
}

#endif
