/* A snapshot in memory: typed pointers into the blob, set once it is verified (verify.h). */
#ifndef BURGEE_IMAGE_H
#define BURGEE_IMAGE_H

#include "format.h"
#include "hash.h"

typedef struct {
    const Header *header;
    const uint8_t *text;
    const Node *nodes;            uint32_t node_count;
    const Entry *node_table;      int node_bits;
    const Slot *slots;            uint32_t slot_count;
    const Point *points;          uint32_t point_count;
    const uint16_t *regions;      uint32_t region_count;
    const Entry *dictionary;      uint32_t dictionary_count;
    const IdTable *id_tables;     uint32_t id_table_count;
    const uint32_t *id_starts;    uint32_t id_start_count;
    const uint64_t *id_tags;      uint32_t id_tag_count;
    const uint16_t *id_classes;   uint32_t id_class_count;
    const ClassRow *class_rows;   uint32_t class_row_count;
    const uint64_t *rows;         uint32_t row_word_count;
    const Patch *patches;         uint32_t patch_count;
    const Predicate *predicates;  uint32_t predicate_count;
    const Op *ops;                uint32_t op_count;
    const Text *literals;         uint32_t literal_count;
    const double *numbers;        uint32_t number_count;
    const uint8_t *truths;        uint32_t truth_count;
    const Test *tests;            uint32_t test_count;
    const uint64_t *class_sets;   uint32_t class_set_count;
    const uint16_t *gate_variants; uint32_t gate_variant_count;
    const Flag *flags;            uint32_t flag_count;
    const Entry *flag_table;      int flag_bits;
    const uint16_t *flag_nodes;   uint32_t flag_node_count;
    const uint32_t *flag_tests;   uint32_t flag_test_count;
    const TreeNode *trees;        uint32_t tree_count;
    const uint32_t *serves;       uint32_t serve_count;
    const Gated *gated;           uint32_t gated_count;
    const Prerequisite *prerequisites; uint32_t prerequisite_count;
    const Outcome *outcomes;      uint32_t outcome_count;
    const Split *splits;          uint32_t split_count;
    const Range *ranges;          uint32_t range_count;
    const SourceChunk *chunks;    uint32_t chunk_count;
    const uint8_t *source_map;    uint32_t source_map_length;
    uint32_t text_length;
    uint32_t word_count;      /* of the matrix */
    uint32_t regex_count;
    uint64_t answer_bound;    /* bytes that the entries of all flags can take at most in a bulk answer, commas included */
    int depends;              /* some flag has gates or prerequisites */
    int timed;                /* some slot or predicate reads NOW */
} Image;

static inline uint32_t table_position(uint64_t hash, uint64_t seed, int bits) {
    return (uint32_t)(((hash ^ seed) * PHI) >> (64 - bits));
}

/* The target of (text, parent), or NONE16. */
static inline uint16_t table_find(const Entry *table, int bits, uint64_t seed, const uint8_t *all_text,
                                  const uint8_t *text, uint32_t length, uint64_t hash, uint16_t parent) {
    hash += parent * PHI;
    uint32_t mask = (1u << bits) - 1;
    for (uint32_t i = table_position(hash, seed, bits);; i = (i + 1) & mask) {
        const Entry *e = &table[i];
        if (e->target == NONE16) return NONE16;
        if (e->tag == (uint32_t)hash && e->parent == parent && e->length == length &&
            memcmp(all_text + e->at, text, length) == 0)
            return e->target;
    }
}

static inline uint16_t find_flag(const Image *im, const uint8_t *key, uint32_t length) {
    return table_find(im->flag_table, im->flag_bits, im->header->flag_seed, im->text, key, length, hash64(key, length), 0);
}

static inline uint16_t find_node(const Image *im, uint16_t parent, const uint8_t *name, uint32_t length, uint64_t hash) {
    return table_find(im->node_table, im->node_bits, im->header->node_seed, im->text, name, length, hash, parent);
}

/* Where a fragment goes on behind its key: `{"key":"…",`. */
static inline uint32_t key_end(const Flag *flag) { return 10 + flag->key_length; }

#endif
