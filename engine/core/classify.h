/* A value to its class: one probe of a table, or one search among breakpoints (docs/snapshot.md). */
#ifndef BURGEE_CLASSIFY_H
#define BURGEE_CLASSIFY_H

#include "readings.h"

static inline uint16_t region_class(const Image *im, const Slot *slot, const Key *key) {
    const Point *points = im->points + slot->first_point;
    uint32_t low = 0, high = slot->point_count;
    while (low < high) { /* the first point that is not below */
        uint32_t middle = (low + high) / 2;
        const Point *p = &points[middle];
        Key point = {p->hi, p->lo, p->length ? im->text + p->at : NULL, p->length};
        int order = compare_keys(&point, key);
        if (order == 0) return im->regions[slot->first_region + 2 * middle + 1];
        if (order < 0) low = middle + 1; else high = middle;
    }
    return im->regions[slot->first_region + 2 * low];
}

static inline uint16_t text_class(const Image *im, const Slot *slot, const uint8_t *text, uint32_t length, uint64_t hash) {
    if (slot->dictionary_bits) {
        uint16_t found = table_find(im->dictionary + slot->first_entry, slot->dictionary_bits, slot->dictionary_seed,
                                    im->text, text, length, hash, 0);
        if (found != NONE16) return found;
    }
    return slot->class_string;
}

static inline uint16_t id_class(const Image *im, const Slot *slot, const uint8_t *text, uint32_t length, uint64_t hash) {
    const IdTable *table = &im->id_tables[slot->id_table];
    const uint32_t *start = im->id_starts + table->first_start + (hash >> (64 - table->bits));
    const uint64_t *tags = im->id_tags + table->first_id;
    uint32_t i = start[0], end = start[1];
    if (i == end) return slot->class_string;
    uint64_t tag = hash64_seeded(text, length, PHI);
    for (; i < end; i++)
        if (tags[i] == tag) return im->id_classes[table->first_id + i];
    return slot->class_string;
}

static inline uint16_t classify(Context *c, const Slot *slot) {
    const Image *im = c->image;
    Value *v = &c->values[slot->node];
    const uint8_t *text;
    uint8_t space[64];
    uint32_t length;
    uint64_t hash;
    Key key;
    switch (slot->via) {
    case VIA_VALUE:
        switch (v->kind) {
        case KIND_STRING:
            if (!slot->dictionary_bits) return slot->class_string;
            key_hash(c, slot->node, &hash);
            return text_class(im, slot, v->text, v->length, hash);
        case KIND_NUMBER:
            if (slot->point_count == 0) return im->regions[slot->first_region];
            key = number_key(v->number);
            return region_class(im, slot, &key);
        case KIND_TRUE: return slot->class_true;
        case KIND_FALSE: return slot->class_false;
        case KIND_LIST: return slot->class_list;
        case KIND_OBJECT: return slot->class_object;
        case KIND_UNUSABLE: return slot->class_unusable;
        }
        return slot->class_missing;
    case VIA_LOWER:
        if (!text_of(v, VIA_LOWER, &c->arena, space, &text)) return slot->class_missing;
        return text_class(im, slot, text, v->length, hash64(text, v->length));
    case VIA_ID:
        if (!id_text(v, space, &text, &length)) return slot->class_missing;
        key_hash(c, slot->node, &hash);
        return id_class(im, slot, text, length, hash);
    default:
        return key_of(v, slot->via, c->now, &key) ? region_class(im, slot, &key) : slot->class_missing;
    }
}

static inline uint16_t class_of(Context *c, uint16_t slot) {
    if (c->classes[slot] == NONE16) c->classes[slot] = classify(c, &c->image->slots[slot]);
    return c->classes[slot];
}

#endif
