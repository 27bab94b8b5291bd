/* The strict JSON reader: a request body straight into a Context, without a document in between.
 *
 *   {"context": {"targetingKey": "u1", "app": {"version": "2.3"}}}
 *
 * finds the node of each member by one probe and keeps what flags read; the rest is checked and skipped. The rules (docs/semantics.md, JSON
 * that is read) hold for every byte of the body. The body must be followed by a zero byte (Python's bytes are). */
#ifndef BURGEE_READER_H
#define BURGEE_READER_H

#include <Python.h>
#include "readings.h"

enum ReadError {
    READ_OK, READ_ENCODING, READ_SYNTAX, READ_DUPLICATE, READ_DEPTH, READ_MEMBERS, READ_SIZE, READ_NUMBER, READ_STRING,
    READ_MEMORY, READ_TRAILING,
    READ_REQUEST, /* JSON, but not a request */
};

#define MAX_DEPTH 32
#define MAX_MEMBERS 1024
#define MAX_NUMBER_TEXT 512
#define MAX_CONTEXT_BYTES (1u << 20)

typedef struct {
    const uint8_t *start, *p, *end;
    Arena *arena;
    Context *c;
    int error;
    const char *reason;   /* of READ_REQUEST */
    const uint8_t *at;    /* of the error */
    int depth;
    const uint8_t *context; /* where the one being read begins */
    uint64_t *tables[MAX_DEPTH + 1]; /* of names, one per depth: only one object at a depth is open */
} Reader;

static inline int read_fail(Reader *r, int error, const uint8_t *at) {
    if (!r->error) { r->error = error; r->at = at; }
    return -1;
}

static inline int read_refuse(Reader *r, const char *reason, const uint8_t *at) {
    if (!r->error) r->reason = reason;
    return read_fail(r, READ_REQUEST, at);
}

static inline int reader_open(Reader *r, const uint8_t *body, size_t n) {
    r->start = r->p = body;
    r->end = body + n;
    r->error = READ_OK;
    r->depth = 0;
    memset(r->tables, 0, sizeof r->tables);
    size_t bad = utf8_error_at(body, n);
    return bad == n ? 0 : read_fail(r, READ_ENCODING, body + bad);
}

static inline void skip_space(Reader *r) {
    while (*r->p == ' ' || *r->p == '\n' || *r->p == '\r' || *r->p == '\t') r->p++;
}

static inline int expect(Reader *r, uint8_t byte) {
    if (*r->p != byte || r->p >= r->end) return read_fail(r, READ_SYNTAX, r->p);
    r->p++;
    return 0;
}

/* ---- strings ---- */

static inline int hex4(const uint8_t *p, const uint8_t *end, uint32_t *value) {
    *value = 0;
    if (end - p < 4) return -1;
    for (int i = 0; i < 4; i++) {
        uint8_t b = p[i], low = b | 32;
        if (is_digit(b)) *value = *value << 4 | (uint32_t)(b - '0');
        else if (low >= 'a' && low <= 'f') *value = *value << 4 | (uint32_t)(low - 'a' + 10);
        else return -1;
    }
    return 0;
}

/* The rest of a string that has an escape: decoded into the arena. */
static int read_escaped(Reader *r, const uint8_t *start, const uint8_t **text, uint32_t *length) {
    const uint8_t *p = r->p, *quote = p;
    while (quote < r->end && *quote != '"') quote += *quote == '\\' ? 2 : 1; /* a bound of the length */
    if (quote >= r->end) return read_fail(r, READ_SYNTAX, r->end);
    uint8_t *out = arena_take(r->arena, (size_t)(quote - start)), *o = out;
    if (!out) return read_fail(r, READ_MEMORY, p);
    memcpy(o, start, (size_t)(p - start));
    o += p - start;
    for (; *p != '"'; ) {
        if (*p < 0x20) return read_fail(r, READ_STRING, p);
        if (*p != '\\') { *o++ = *p++; continue; }
        const uint8_t *escape = p++;
        uint32_t point, low;
        switch (*p++) {
        case '"': *o++ = '"'; break;
        case '\\': *o++ = '\\'; break;
        case '/': *o++ = '/'; break;
        case 'b': *o++ = '\b'; break;
        case 'f': *o++ = '\f'; break;
        case 'n': *o++ = '\n'; break;
        case 'r': *o++ = '\r'; break;
        case 't': *o++ = '\t'; break;
        case 'u':
            if (hex4(p, r->end, &point)) return read_fail(r, READ_STRING, escape);
            p += 4;
            if (point >= 0xDC00 && point <= 0xDFFF) return read_fail(r, READ_STRING, escape);
            if (point >= 0xD800 && point <= 0xDBFF) {
                if (p[0] != '\\' || p[1] != 'u' || hex4(p + 2, r->end, &low) || low < 0xDC00 || low > 0xDFFF)
                    return read_fail(r, READ_STRING, escape);
                point = 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00);
                p += 6;
            }
            o += utf8_write(o, point);
            break;
        default: return read_fail(r, READ_STRING, escape);
        }
    }
    *text = out;
    *length = (uint32_t)(o - out);
    r->p = p + 1;
    return 0;
}

/* At the opening quote. */
static inline int read_string(Reader *r, const uint8_t **text, uint32_t *length) {
    const uint8_t *start = ++r->p, *p = start;
    while (*p >= 0x20 && *p != '"' && *p != '\\') p++;
    r->p = p;
    if (*p == '"') {
        *text = start;
        *length = (uint32_t)(p - start);
        r->p++;
        return 0;
    }
    if (*p == '\\') return read_escaped(r, start, text, length);
    return read_fail(r, p >= r->end ? READ_SYNTAX : READ_STRING, p);
}

/* ---- numbers ---- */

static const double POWERS_OF_TEN[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
                                       1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

static inline int read_number(Reader *r, Value *v) {
    const uint8_t *start = r->p, *p = start, *first;
    uint64_t mantissa = 0;
    int digits = 0, exponent = 0, is_integer = 1;
    if (*p == '-') p++;
    first = p;
    if (!is_digit(*p)) return read_fail(r, READ_SYNTAX, p);
    for (; is_digit(*p); p++) if (digits < 19) { mantissa = mantissa * 10 + (uint64_t)(*p - '0'); digits += mantissa != 0; }
                              else { digits++; exponent++; }
    if (*first == '0' && p - first > 1) return read_fail(r, READ_SYNTAX, first);
    if (*p == '.') {
        is_integer = 0;
        first = ++p;
        for (; is_digit(*p); p++) if (digits < 19) { mantissa = mantissa * 10 + (uint64_t)(*p - '0'); digits += mantissa != 0; exponent--; }
                                  else digits++;
        if (p == first) return read_fail(r, READ_SYNTAX, p);
    }
    if (*p == 'e' || *p == 'E') {
        int negative = 0, value = 0;
        is_integer = 0;
        p++;
        if (*p == '+' || *p == '-') negative = *p++ == '-';
        first = p;
        for (; is_digit(*p); p++) if (value < 100000) value = value * 10 + (*p - '0');
        if (p == first) return read_fail(r, READ_SYNTAX, p);
        exponent += negative ? -value : value;
    }
    size_t n = (size_t)(p - start);
    if (n > MAX_NUMBER_TEXT) return read_fail(r, READ_NUMBER, start);
    r->p = p;
    *v = (Value){KIND_NUMBER, 0, 0, {0}};
    if (is_integer && (digits > 16 || mantissa > 9007199254740991ull)) {
        v->kind = KIND_UNUSABLE;
        return 0;
    }
    if (digits <= 19 && mantissa <= 9007199254740992ull && exponent >= -22 && exponent <= 22) { /* exact: Clinger 1990 */
        double x = (double)mantissa;
        x = exponent < 0 ? x / POWERS_OF_TEN[-exponent] : x * POWERS_OF_TEN[exponent];
        v->number = *start == '-' ? -x : x;
        return 0;
    }
    char text[MAX_NUMBER_TEXT + 1];
    memcpy(text, start, n);
    text[n] = 0;
    v->number = PyOS_string_to_double(text, NULL, NULL); /* overflow gives an infinity */
    if (isinf(v->number)) v->kind = KIND_UNUSABLE;
    return 0;
}

/* ---- members: names and duplicates ---- */

#define FEW_MEMBERS 24
#define MANY_BITS 12 /* a table of 4,096 for up to MAX_MEMBERS hashes */
typedef struct { uint64_t few[FEW_MEMBERS], *many; uint32_t count; } Names;

static inline int names_insert_many(Names *names, uint64_t hash) {
    uint32_t mask = (1u << MANY_BITS) - 1, i = (uint32_t)(hash * PHI >> (64 - MANY_BITS));
    hash |= hash == 0; /* 0 marks an empty place */
    for (; names->many[i]; i = (i + 1) & mask) if (names->many[i] == hash) return -1;
    names->many[i] = hash;
    return 0;
}

/* Two names are taken as equal when their 64-bit hashes are. */
static inline int names_add(Reader *r, Names *names, uint64_t hash, const uint8_t *at) {
    if (names->count < FEW_MEMBERS) {
        for (uint32_t i = 0; i < names->count; i++) if (names->few[i] == hash) return read_fail(r, READ_DUPLICATE, at);
        names->few[names->count++] = hash;
        return 0;
    }
    if (names->count == MAX_MEMBERS) return read_fail(r, READ_MEMBERS, at);
    if (names->count == FEW_MEMBERS) {
        uint64_t **table = &r->tables[r->depth];
        if (!*table) *table = arena_take(r->arena, sizeof(uint64_t) << MANY_BITS);
        names->many = *table;
        if (!names->many) return read_fail(r, READ_MEMORY, at);
        memset(names->many, 0, sizeof(uint64_t) << MANY_BITS);
        for (uint32_t i = 0; i < FEW_MEMBERS; i++) names_insert_many(names, names->few[i]);
    }
    names->count++;
    return names_insert_many(names, hash) ? read_fail(r, READ_DUPLICATE, at) : 0;
}

typedef struct { const uint8_t *text; uint32_t length; uint64_t hash; } Name;

/* At the opening quote: name, colon, up to the value. */
static inline int read_name(Reader *r, Names *names, Name *name) {
    const uint8_t *at = r->p;
    if (*at != '"') return read_fail(r, READ_SYNTAX, at);
    if (read_string(r, &name->text, &name->length)) return -1;
    name->hash = hash64(name->text, name->length);
    if (names_add(r, names, name->hash, at)) return -1;
    skip_space(r);
    if (expect(r, ':')) return -1;
    skip_space(r);
    return 0;
}

/* After a value, inside brackets: 1 at a comma, 0 at the close, -1. */
static inline int read_next(Reader *r, uint8_t close) {
    skip_space(r);
    if (*r->p == ',') { r->p++; skip_space(r); return 1; }
    return expect(r, close);
}

static inline int read_enter(Reader *r) {
    if (++r->depth > MAX_DEPTH) return read_fail(r, READ_DEPTH, r->p);
    r->p++;
    skip_space(r);
    return 0;
}

/* An empty pair of brackets is at hand: step over its close. */
static inline int read_empty(Reader *r, uint8_t close) {
    if (*r->p != close) return 0;
    r->p++;
    return 1;
}

/* ---- values ---- */

static inline int read_word(Reader *r, const char *word, uint32_t n, uint8_t kind, Value *v) {
    if ((size_t)(r->end - r->p) < n || memcmp(r->p, word, n)) return read_fail(r, READ_SYNTAX, r->p);
    r->p += n;
    *v = (Value){kind, 0, 0, {0}};
    return 0;
}

static int read_list(Reader *r, int keep, Value *v);
static int read_object(Reader *r, int keep, Value *v);

/* Any value. Lists and objects are kept (in the arena) or only counted. */
static int read_value(Reader *r, int keep, Value *v) {
    switch (*r->p) {
    case '"':
        *v = (Value){KIND_STRING, 0, 0, {0}};
        return read_string(r, &v->text, &v->length);
    case '{': return read_object(r, keep, v);
    case '[': return read_list(r, keep, v);
    case 't': return read_word(r, "true", 4, KIND_TRUE, v);
    case 'f': return read_word(r, "false", 5, KIND_FALSE, v);
    case 'n': return read_word(r, "null", 4, KIND_MISSING, v);
    default: return read_number(r, v);
    }
}

/* Room for one more value in a growing array of the arena. A context that is too large is refused here, before it takes memory. */
static inline Value *value_room(Reader *r, Value **array, uint32_t count, uint32_t *room) {
    if (count == *room) {
        if (r->p - r->context > MAX_CONTEXT_BYTES) { read_fail(r, READ_SIZE, r->context); return NULL; }
        uint32_t wider = *room ? *room * 2 : 8;
        Value *fresh = arena_take(r->arena, wider * sizeof(Value));
        if (!fresh) { read_fail(r, READ_MEMORY, r->p); return NULL; }
        if (count) memcpy(fresh, *array, count * sizeof(Value));
        *array = fresh;
        *room = wider;
    }
    return &(*array)[count];
}

static int read_list(Reader *r, int keep, Value *v) {
    Value *elements = NULL, element, *to;
    uint32_t count = 0, room = 0;
    int more = 1;
    if (read_enter(r)) return -1;
    if (read_empty(r, ']')) more = 0;
    while (more) {
        int keep_this = keep && count < MAX_ELEMENTS;
        to = keep_this ? value_room(r, &elements, count, &room) : &element;
        if (!to || read_value(r, keep_this, to)) return -1;
        count++;
        if ((more = read_next(r, ']')) < 0) return -1;
    }
    r->depth--;
    *v = (Value){count > MAX_ELEMENTS ? KIND_UNUSABLE : KIND_LIST, 0, count, {.elements = elements}};
    return 0;
}

static int read_object(Reader *r, int keep, Value *v) {
    Value *members = NULL, member, *to;
    Names names = {.count = 0};
    Name name;
    uint32_t room = 0;
    int more = 1;
    if (read_enter(r)) return -1;
    if (read_empty(r, '}')) more = 0;
    while (more) {
        if (read_name(r, &names, &name)) return -1;
        to = &member;
        if (keep) {
            uint32_t at = 2 * (names.count - 1);
            if (!value_room(r, &members, at, &room)) return -1; /* rooms are even: a pair fits */
            members[at] = (Value){KIND_STRING, 0, name.length, {.text = name.text}};
            to = &member;
        }
        if (read_value(r, keep, to)) return -1;
        if (keep) members[2 * names.count - 1] = member;
        if ((more = read_next(r, '}')) < 0) return -1;
    }
    r->depth--;
    *v = (Value){KIND_OBJECT, 0, names.count, {.elements = members}};
    return 0;
}

/* An object whose members are nodes below `node`. */
static int read_node_object(Reader *r, uint16_t node, Value *v) {
    Context *c = r->c;
    const Image *im = c->image;
    Names names = {.count = 0};
    Name name;
    Value skipped;
    int more = 1;
    if (read_enter(r)) return -1;
    if (read_empty(r, '}')) more = 0;
    while (more) {
        if (read_name(r, &names, &name)) return -1;
        uint16_t child = find_node(im, node, name.text, name.length, name.hash);
        int failed;
        if (child == NONE16) failed = read_value(r, 0, &skipped);
        else if (*r->p == '{' && im->nodes[child].has_children) failed = read_node_object(r, child, &c->values[child]);
        else failed = read_value(r, im->nodes[child].keeps_elements, &c->values[child]);
        if (failed) return -1;
        if ((more = read_next(r, '}')) < 0) return -1;
    }
    r->depth--;
    *v = (Value){KIND_OBJECT, 0, names.count, {.elements = NULL}};
    return 0;
}

/* One context, at the value. */
static inline int read_context(Reader *r, Context *c) {
    const uint8_t *at = r->p;
    if (*at != '{') return read_refuse(r, "the context is not an object", at);
    r->c = c;
    r->arena = &c->arena;
    r->context = at;
    memset(r->tables, 0, sizeof r->tables); /* they may be in another arena, or in what this one held before */
    if (read_node_object(r, 0, &c->values[0])) return -1;
    if (r->p - at > MAX_CONTEXT_BYTES) return read_fail(r, READ_SIZE, at);
    return 0;
}

static inline int read_end(Reader *r) {
    skip_space(r);
    return r->p == r->end ? 0 : read_fail(r, READ_TRAILING, r->p);
}

static inline int name_is(const Name *name, const char *word) {
    return name->length == strlen(word) && memcmp(name->text, word, name->length) == 0;
}

/* A body that must be an object: up to its first member, or its close. */
static inline int read_body(Reader *r, const uint8_t *body, size_t n) {
    Value other;
    if (reader_open(r, body, n)) return -1;
    skip_space(r);
    if (*r->p == '{') return read_enter(r);
    if (read_value(r, 0, &other) || read_end(r)) return -1;
    return read_refuse(r, "the body is not an object", r->start);
}

/* {"context": {…}}: an OFREP request. */
static inline int read_request(Reader *r, const uint8_t *body, size_t n, Context *c) {
    Names names = {.count = 0};
    Name name;
    Value skipped;
    int more = 1, found = 0;
    r->c = c;
    r->arena = &c->arena;
    if (read_body(r, body, n)) return -1;
    if (read_empty(r, '}')) more = 0;
    while (more) {
        if (read_name(r, &names, &name)) return -1;
        if (name_is(&name, "context")) {
            found = 1;
            if (*r->p != '{' ) {
                read_value(r, 0, &skipped);
                return read_refuse(r, "`context` is not an object", r->p);
            }
            if (read_context(r, c)) return -1;
        } else if (read_value(r, 0, &skipped)) return -1;
        if ((more = read_next(r, '}')) < 0) return -1;
    }
    r->depth--;
    if (read_end(r)) return -1;
    return found ? 0 : read_refuse(r, "the body has no `context`", r->start);
}

static const char *read_error_text(int error) {
    switch (error) {
    case READ_ENCODING: return "not UTF-8";
    case READ_DUPLICATE: return "a member is there twice";
    case READ_DEPTH: return "nested more than 32 levels deep";
    case READ_MEMBERS: return "an object of more than 1024 members";
    case READ_SIZE: return "a context of more than 1 MiB";
    case READ_NUMBER: return "a number of more than 512 bytes";
    case READ_STRING: return "a string with a control character, a wrong escape or a lone surrogate";
    case READ_MEMORY: return "out of memory";
    case READ_TRAILING: return "something follows the value";
    default: return "not JSON";
    }
}

#endif
