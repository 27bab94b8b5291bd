/* Predicates: what neither a table nor breakpoints decide. Three-valued programs over a context, asked at most once. */
#ifndef BURGEE_PREDICATES_H
#define BURGEE_PREDICATES_H

#include "classify.h"

typedef struct {
    Context *c;
    const Op *ops;                  /* of this predicate */
    const Value *elements[MAX_SCOPE]; /* what the quantifiers look at */
    uint32_t depth;                   /* quantifiers around */
    int64_t steps;                    /* that the outermost quantifier has left */
} Frame;

/* A list is looked into as a whole, but for lists inside a quantifier: those only if they are short. */
#define MAX_INNER_ELEMENTS 64
/* What a quantifier with those inside it may cost, some 50 ms: a step for an operation, more for long texts and for regexes. */
#define MAX_STEPS_OF_QUANTIFIER 2000000

static const Value MISSING_VALUE = {KIND_MISSING, 0, 0, {0}};

static inline const Value *operand_of(const Frame *f, const Op *op) {
    if (op->scope == 0) return &f->c->values[op->node];
    const Value *v = f->elements[op->scope - 1];
    const Image *im = f->c->image;
    for (uint32_t s = 0; s < op->steps; s++) {
        const Text *name = &im->literals[op->node + s];
        const Value *found = &MISSING_VALUE;
        if (v->kind == KIND_OBJECT && v->elements)
            for (uint32_t i = 0; i < v->length; i++) {
                const Value *member = &v->elements[2 * i];
                if (member->length == name->length && member->text && memcmp(member->text, im->text + name->at, name->length) == 0)
                    found = member + 1;
            }
        v = found;
    }
    return v;
}

static inline int truth_of_order(int order, int op) {
    switch (op) {
    case ORDER_LT: return order < 0;
    case ORDER_LE: return order <= 0;
    case ORDER_GT: return order > 0;
    case ORDER_GE: return order >= 0;
    default: return order == 0;
    }
}

static inline int compare_texts(const uint8_t *a, uint32_t an, const uint8_t *b, uint32_t bn) {
    int order = memcmp(a, b, an < bn ? an : bn);
    return order ? order : an < bn ? -1 : an > bn;
}

static inline int in_strings(const Image *im, const Op *op, const uint8_t *text, uint32_t length) {
    uint32_t low = op->a, high = op->a + op->b;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        const Text *literal = &im->literals[middle];
        int order = compare_texts(im->text + literal->at, literal->length, text, length);
        if (order == 0) return TRUE;
        if (order < 0) low = middle + 1; else high = middle;
    }
    return FALSE;
}

static inline int in_numbers(const Image *im, const Op *op, double number) {
    uint32_t low = op->a, high = op->a + op->b;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (im->numbers[middle] == number) return TRUE;
        if (im->numbers[middle] < number) low = middle + 1; else high = middle;
    }
    return FALSE;
}

static inline int test_text(Context *c, const Op *op, const uint8_t *text, uint32_t length) {
    const Image *im = c->image;
    const uint8_t *part = im->text + op->a;
    switch (op->kind) {
    case OP_IN_STRINGS: return in_strings(im, op, text, length);
    case OP_ORDER_TEXT: return truth_of_order(compare_texts(text, length, part, op->b), op->order);
    case OP_STARTS_WITH: return length >= op->b && memcmp(text, part, op->b) == 0;
    case OP_ENDS_WITH: return length >= op->b && memcmp(text + length - op->b, part, op->b) == 0;
    case OP_CONTAINS_TEXT: return memmem(text, length, part, op->b) != NULL;
    default: return c->match(c->owner, (uint32_t)op->n, text, length);
    }
}

static inline int element_equals(const Image *im, const Op *op, const Value *v) {
    switch (op->kind) {
    case OP_HAS_STRING: return v->kind == KIND_STRING && in_strings(im, op, v->text, v->length);
    case OP_HAS_NUMBER: return v->kind == KIND_NUMBER && in_numbers(im, op, v->number);
    default: return (v->kind == KIND_FALSE && op->a & 1) || (v->kind == KIND_TRUE && op->a & 2);
    }
}

/* Two strings, each via VALUE or LOWER. Lowered as they are compared: inside a quantifier, that may be for each element. */
static inline int compare_strings(const Value *a, int a_via, const Value *b, int b_via) {
    if (a_via == VIA_VALUE && b_via == VIA_VALUE) return compare_texts(a->text, a->length, b->text, b->length);
    uint32_t n = a->length < b->length ? a->length : b->length;
    for (uint32_t i = 0; i < n; i++) {
        uint8_t x = a_via == VIA_LOWER ? lowered(a->text[i]) : a->text[i], y = b_via == VIA_LOWER ? lowered(b->text[i]) : b->text[i];
        if (x != y) return x < y ? -1 : 1;
    }
    return a->length < b->length ? -1 : a->length > b->length;
}

static inline int order_operands(const Frame *f, const Op *op) {
    const Op *other = &f->ops[op->a];
    const Value *left = operand_of(f, op), *right = operand_of(f, other);
    if (op->via <= VIA_LOWER && other->via <= VIA_LOWER) {
        if (left->kind == KIND_STRING && right->kind == KIND_STRING)
            return truth_of_order(compare_strings(left, op->via, right, other->via), op->order);
        if (op->via == VIA_VALUE && other->via == VIA_VALUE && op->order == ORDER_EQ &&
            (left->kind == KIND_TRUE || left->kind == KIND_FALSE) && (right->kind == KIND_TRUE || right->kind == KIND_FALSE))
            return left->kind == right->kind;
    }
    Key a, b;
    if (!key_of(left, op->via, f->c->now, &a) || !key_of(right, other->via, f->c->now, &b)) return UNKNOWN;
    if (op->n) { /* times */
        __int128 shifted = (__int128)b.hi + op->n;
        int order = (__int128)a.hi < shifted ? -1 : (__int128)a.hi > shifted;
        return truth_of_order(order, op->order);
    }
    return truth_of_order(compare_keys(&a, &b), op->order);
}

static int truth_of_op(Frame *f, const Op *op);

static inline const Value *list_of(const Frame *f, const Op *op) {
    const Value *v = operand_of(f, op);
    if (v->kind != KIND_LIST || (v->length && !v->elements) || (f->depth && v->length > MAX_INNER_ELEMENTS)) return NULL;
    return v;
}

static inline int quantified(Frame *f, const Op *op) {
    const Value *list = list_of(f, op);
    if (!list) return UNKNOWN;
    int stop = op->kind == OP_EXISTS ? TRUE : FALSE, truth = !stop;
    uint32_t depth = f->depth++; /* below MAX_SCOPE: verified */
    if (depth == 0) f->steps = MAX_STEPS_OF_QUANTIFIER;
    for (uint32_t i = 0; i < list->length; i++) {
        f->elements[depth] = &list->elements[i];
        int t = truth_of_op(f, &f->ops[op->a]);
        if (t == stop) { truth = stop; break; }
        if (t == UNKNOWN) truth = UNKNOWN;
        if (f->steps < 0) break;
    }
    f->depth--;
    return f->steps < 0 ? UNKNOWN : truth;
}

static int truth_of_op(Frame *f, const Op *op) {
    const Image *im = f->c->image;
    const Value *v;
    const uint8_t *text;
    uint8_t space[64];
    int left, right;
    ArenaMark mark;
    Key key;
    if (f->depth) {
        f->steps--;
        if (op->kind >= OP_HAS) {
            v = operand_of(f, op);
            if (v->kind == KIND_STRING) f->steps -= op->kind == OP_MATCHES ? 16 + (v->length >> 2) : v->length >> 4;
            else if (v->kind == KIND_LIST) f->steps -= v->length;
        }
    }
    switch (op->kind) {
    case OP_CONSTANT: return (int)op->a;
    case OP_AND:
        if ((left = truth_of_op(f, &f->ops[op->a])) == FALSE) return FALSE;
        right = truth_of_op(f, &f->ops[op->b]);
        return right == FALSE ? FALSE : left == UNKNOWN ? UNKNOWN : right;
    case OP_OR:
        if ((left = truth_of_op(f, &f->ops[op->a])) == TRUE) return TRUE;
        right = truth_of_op(f, &f->ops[op->b]);
        return right == TRUE ? TRUE : left == UNKNOWN ? UNKNOWN : right;
    case OP_NOT:
        left = truth_of_op(f, &f->ops[op->a]);
        return left == UNKNOWN ? UNKNOWN : !left;
    case OP_CLASS_IS: return im->truths[op->b + class_of(f->c, (uint16_t)op->a)];
    case OP_HAS: return operand_of(f, op)->kind != KIND_MISSING;
    case OP_IN_NUMBERS:
        v = operand_of(f, op);
        return v->kind == KIND_NUMBER ? in_numbers(im, op, v->number) : UNKNOWN;
    case OP_IN_BOOLEANS:
        v = operand_of(f, op);
        return v->kind == KIND_TRUE ? (int)(op->a >> 1 & 1) : v->kind == KIND_FALSE ? (int)(op->a & 1) : UNKNOWN;
    case OP_IN_STRINGS: case OP_ORDER_TEXT: case OP_STARTS_WITH: case OP_ENDS_WITH: case OP_CONTAINS_TEXT: case OP_MATCHES:
        v = operand_of(f, op);
        mark = arena_mark(&f->c->arena);
        left = text_of(v, op->via, &f->c->arena, space, &text) ? test_text(f->c, op, text, v->length) : UNKNOWN;
        arena_release(&f->c->arena, mark);
        return left;
    case OP_ORDER_KEY: {
        const Point *p = &im->points[op->a];
        Key point = {p->hi, p->lo, p->length ? im->text + p->at : NULL, p->length};
        return key_of(operand_of(f, op), op->via, f->c->now, &key) ? truth_of_order(compare_keys(&key, &point), op->order)
                                                                   : UNKNOWN;
    }
    case OP_IN_NETWORKS:
        if (!key_of(operand_of(f, op), VIA_IP, 0, &key)) return UNKNOWN;
        for (uint32_t i = 0; i < op->b; i++) {
            const Point *p = &im->points[op->a + 2 * i];
            Key first = {p[0].hi, p[0].lo, NULL, 0}, last = {p[1].hi, p[1].lo, NULL, 0};
            if (compare_keys(&key, &first) >= 0 && compare_keys(&key, &last) <= 0) return TRUE;
        }
        return FALSE;
    case OP_HAS_STRING: case OP_HAS_NUMBER: case OP_HAS_BOOLEAN:
        if (!(v = list_of(f, op))) return UNKNOWN;
        for (uint32_t i = 0; i < v->length; i++) if (element_equals(im, op, &v->elements[i])) return TRUE;
        return FALSE;
    case OP_EXISTS: case OP_ALL: return quantified(f, op);
    case OP_ORDER_OPERANDS: return order_operands(f, op);
    default: return UNKNOWN;
    }
}

static inline int truth_of(Context *c, uint32_t predicate) {
    if (c->truths[predicate] == UNASKED) {
        const Predicate *p = &c->image->predicates[predicate];
        Frame frame = {c, c->image->ops + p->first_op, {NULL, NULL}, 0, 0};
        c->truths[predicate] = (uint8_t)truth_of_op(&frame, &frame.ops[p->op_count - 1]);
    }
    return c->truths[predicate];
}

#endif
