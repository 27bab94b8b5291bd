/* The strict scanner: recognises exactly the evaluate requests, and nothing that aiohttp's parser would read differently.
 *
 *   POST /ofrep/v1/evaluate/flags/checkout HTTP/1.1
 *   Host: flags.internal
 *   Authorization: Bearer burgee_server_…
 *   Content-Type: application/json
 *   Content-Length: 40
 *
 * Whatever is not literally such a request (another path, a query, HTTP/1.0, chunked, Expect, two of a header that matters, odd
 * spacing, …) is SCAN_OTHER: its bytes go, untouched, to aiohttp. INVARIANT, fuzzed in tests/server/test_front_scan.py: what is
 * accepted here is accepted by llhttp and h11, with equal bytes consumed. RFC 9112. */
#ifndef BURGEE_SCAN_H
#define BURGEE_SCAN_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { SCAN_REQUEST, SCAN_PARTIAL, SCAN_OTHER };
enum { ROUTE_BATCH, ROUTE_FLAGS, ROUTE_FLAG };

#define MAX_HEAD 8192
#define MAX_HEADERS 64
#define MAX_KEY 128

typedef struct { const char *at; uint32_t length; } Span;

typedef struct {
    int route;
    int packed;          /* the reply is to be MessagePack: 1 application/msgpack, 2 application/vnd.msgpack */
    int close;           /* Connection: close */
    uint32_t head, body; /* bytes */
    Span key;            /* of ROUTE_FLAG */
    Span credential;     /* the presented key */
    Span if_none_match, environment, origin; /* length 0: not there */
} Request;

/* RFC 9110, token */
static const uint8_t IS_TOKEN[256] = {
    ['!'] = 1, ['#'] = 1, ['$'] = 1, ['%'] = 1, ['&'] = 1, ['\''] = 1, ['*'] = 1, ['+'] = 1, ['-'] = 1, ['.'] = 1,
    ['^'] = 1, ['_'] = 1, ['`'] = 1, ['|'] = 1, ['~'] = 1,
    ['0' ... '9'] = 1, ['a' ... 'z'] = 1, ['A' ... 'Z'] = 1,
};

static inline int is_key_byte(uint8_t b) {
    return (b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z') || (b >= '0' && b <= '9') || b == '-' || b == '_' || b == '.';
}

/* Equal but for the case of ASCII letters; `lower` is in lower case. */
static inline int same_word(const char *text, uint32_t n, const char *lower) {
    for (uint32_t i = 0; i < n; i++) {
        uint8_t b = (uint8_t)text[i];
        if (b >= 'A' && b <= 'Z') b += 32;
        if (!lower[i] || b != (uint8_t)lower[i]) return 0;
    }
    return lower[n] == 0;
}

/* `have` bytes are there and all of `word` that fits in them agrees. */
static inline int begins(const char *p, size_t have, const char *word, size_t n) {
    return memcmp(p, word, have < n ? have : n) == 0;
}

#define BATCH_LINE "POST /v1/evaluate HTTP/1.1\r\n"
#define FLAGS_PATH "POST /ofrep/v1/evaluate/flags"
#define FLAGS_END " HTTP/1.1\r\n"

/* The request line. Sets *line to its length, CRLF included. */
static inline int scan_line(const char *p, size_t n, Request *r, size_t *line) {
    size_t batch = sizeof BATCH_LINE - 1, flags = sizeof FLAGS_PATH - 1, end = sizeof FLAGS_END - 1;
    if (begins(p, n, BATCH_LINE, batch)) {
        r->route = ROUTE_BATCH;
        *line = batch;
        return n < batch ? SCAN_PARTIAL : SCAN_REQUEST;
    }
    if (!begins(p, n, FLAGS_PATH, flags)) return SCAN_OTHER;
    if (n <= flags) return SCAN_PARTIAL;
    r->route = ROUTE_FLAGS;
    size_t at = flags;
    if (p[at] == '/') {
        r->route = ROUTE_FLAG;
        r->key.at = p + ++at;
        while (at < n && is_key_byte((uint8_t)p[at]) && at - flags <= MAX_KEY + 1) at++;
        r->key.length = (uint32_t)(p + at - r->key.at);
        if (r->key.length > MAX_KEY) return SCAN_OTHER;
        if (at == n) return SCAN_PARTIAL;
        if (r->key.length == 0 || (r->key.at[0] == '.' && (r->key.length == 1 || (r->key.length == 2 && r->key.at[1] == '.'))))
            return SCAN_OTHER; /* `.` and `..` are not names in a path */
    }
    *line = at + end;
    if (!begins(p + at, n - at, FLAGS_END, end)) return SCAN_OTHER;
    return n < *line ? SCAN_PARTIAL : SCAN_REQUEST;
}

static inline int is_host(const char *p, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        if (!is_key_byte((uint8_t)p[i]) && p[i] != ':' && p[i] != '[' && p[i] != ']') return 0;
    return n > 0;
}

typedef struct { int host, length, type, credential, accept, match, environment, connection, origin; } Seen;

/* One header that matters. 0: as it must be. */
static inline int scan_header(const char *name, uint32_t n, const char *value, uint32_t m, Request *r, Seen *seen, uint32_t max_body) {
    switch (n) {
    case 2:
        if (same_word(name, n, "te")) return -1;
        break;
    case 4:
        if (same_word(name, n, "host")) return seen->host++ || !is_host(value, m);
        break;
    case 6:
        if (same_word(name, n, "expect")) return -1;
        if (same_word(name, n, "origin")) {
            r->origin = (Span){value, m};
            return seen->origin++ || m == 0;
        }
        if (same_word(name, n, "accept")) {
            if (seen->accept++) return -1;
            if (same_word(value, m, "application/msgpack")) r->packed = 1;
            else if (same_word(value, m, "application/vnd.msgpack")) r->packed = 2;
            else return !same_word(value, m, "*/*") && !same_word(value, m, "application/json");
        }
        break;
    case 7:
        if (same_word(name, n, "upgrade") || same_word(name, n, "trailer")) return -1;
        break;
    case 9:
        if (same_word(name, n, "x-api-key")) {
            r->credential = (Span){value, m};
            return seen->credential++ || m == 0 || memchr(value, ' ', m) || memchr(value, '\t', m);
        }
        break;
    case 10:
        if (same_word(name, n, "connection")) {
            if (seen->connection++) return -1;
            r->close = same_word(value, m, "close");
            return !r->close && !same_word(value, m, "keep-alive");
        }
        break;
    case 12:
        if (same_word(name, n, "content-type"))
            return seen->type++ || (!same_word(value, m, "application/json") && !same_word(value, m, "application/json; charset=utf-8"));
        break;
    case 13:
        if (same_word(name, n, "authorization")) {
            if (seen->credential++ || m < 8 || !same_word(value, 7, "bearer ")) return -1;
            r->credential = (Span){value + 7, m - 7};
            return memchr(value + 7, ' ', m - 7) || memchr(value, '\t', m);
        }
        if (same_word(name, n, "if-none-match")) {
            r->if_none_match = (Span){value, m};
            return seen->match++;
        }
        break;
    case 14:
        if (same_word(name, n, "content-length")) {
            if (seen->length++ || m == 0 || m > 8 || (value[0] == '0' && m > 1)) return -1;
            r->body = 0;
            for (uint32_t i = 0; i < m; i++) {
                if (value[i] < '0' || value[i] > '9') return -1;
                r->body = r->body * 10 + (uint32_t)(value[i] - '0');
            }
            return r->body > max_body;
        }
        break;
    case 16:
        if (same_word(name, n, "content-encoding")) return -1;
        if (same_word(name, n, "proxy-connection")) return -1;
        break;
    case 17:
        if (same_word(name, n, "transfer-encoding")) return -1;
        break;
    case 18:
        if (same_word(name, n, "burgee-environment")) {
            r->environment = (Span){value, m};
            return seen->environment++ || m == 0;
        }
        break;
    }
    return 0;
}

/* Are these 8 bytes all within 0x20 and 0x7E? A tab says no, and is looked at on its own. */
static inline int is_text(const char *p) {
    const uint64_t ones = 0x0101010101010101u;
    uint64_t x;
    memcpy(&x, p, 8);
    uint64_t control = x - 0x20 * ones, deleted = (x ^ 0x7F * ones) - ones;
    return ((control | deleted | x) & 0x80 * ones) == 0;
}

/* The head of a request at p. SCAN_REQUEST: r->head bytes of head are there, and r->body bytes of body follow. */
static inline int scan_head(const char *p, size_t n, uint32_t max_body, Request *r) {
    Seen seen = {0};
    size_t at = 0, limit = n < MAX_HEAD ? n : MAX_HEAD;
    int partial = n < MAX_HEAD ? SCAN_PARTIAL : SCAN_OTHER;
    memset(r, 0, sizeof *r);
    int found = scan_line(p, limit, r, &at);
    if (found != SCAN_REQUEST) return found;
    for (int headers = 0;; headers++) {
        if (limit - at >= 2 && p[at] == '\r' && p[at + 1] == '\n') break;
        if (headers == MAX_HEADERS) return SCAN_OTHER;
        size_t name = at;
        while (at < limit && IS_TOKEN[(uint8_t)p[at]]) at++;
        if (at == limit) return partial;
        if (p[at] != ':') return p[at] == '\r' && at == name && at + 1 == limit ? partial : SCAN_OTHER;
        uint32_t name_length = (uint32_t)(at++ - name);
        if (name_length == 0) return SCAN_OTHER;
        while (at < limit && (p[at] == ' ' || p[at] == '\t')) at++;
        size_t value = at;
        while (limit - at >= 8 && is_text(p + at)) at += 8;
        while (at < limit && (((uint8_t)p[at] >= 0x20 && (uint8_t)p[at] < 0x7F) || p[at] == '\t')) at++;
        if (limit - at < 2) return at == limit || p[at] == '\r' ? partial : SCAN_OTHER;
        if (p[at] != '\r' || p[at + 1] != '\n') return SCAN_OTHER;
        size_t end = at;
        while (end > value && (p[end - 1] == ' ' || p[end - 1] == '\t')) end--;
        if (scan_header(p + name, name_length, p + value, (uint32_t)(end - value), r, &seen, max_body)) return SCAN_OTHER;
        at += 2;
    }
    if (!seen.host || !seen.length || !seen.type || !seen.credential) return SCAN_OTHER;
    r->head = (uint32_t)at + 2;
    return SCAN_REQUEST;
}

#endif
