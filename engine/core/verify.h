/* The verifier: makes any blob safe to evaluate, or says what is wrong with it (docs/snapshot.md, What the verifier proves).
 *
 * Like a bytecode verifier it runs once, at load; everything after it reads without bounds checks. Its own work is bounded by a multiple
 * of the blob's length, so that no blob can keep a loader busy. The digest is checked by the caller. */
#ifndef BURGEE_VERIFY_H
#define BURGEE_VERIFY_H

#include <stdlib.h>
#include "image.h"
#include "reader.h"

typedef struct {
    Image *im;
    uint64_t work, budget;
    uint64_t fragments; /* bytes */
    uint64_t treeless;  /* flags whose part of the matrix is scanned when they are asked for alone */
    const char *why;
} Verifier;

static inline int refuse(Verifier *v, const char *why) { v->why = why; return -1; }
static inline int spend(Verifier *v, uint64_t work) {
    v->work += work;
    return v->work > v->budget ? refuse(v, "records overlap without end") : 0;
}
/* [first, first + count) within n */
static inline int inside(uint64_t first, uint64_t count, uint64_t n) { return first <= n && count <= n - first; }

#define CHECK(condition, why) do { if (!(condition)) return refuse(v, why); } while (0)
#define CHECK_TEXT(at, length) CHECK(inside(at, length, v->im->text_length - 64), "a text is outside TEXT")
#define SPEND(work) do { if (spend(v, work)) return -1; } while (0)

static int verify_sections(Verifier *v, const uint8_t *blob, uint64_t length) {
    static const uint8_t record[SECTION_COUNT] = {
        [TEXT] = 1, [NODES] = sizeof(Node), [NODE_TABLE] = sizeof(Entry), [SLOTS] = sizeof(Slot), [POINTS] = sizeof(Point),
        [REGIONS] = 2, [DICTIONARY] = sizeof(Entry), [ID_TABLES] = sizeof(IdTable), [ID_STARTS] = 4, [ID_TAGS] = 8,
        [ID_CLASSES] = 2, [CLASS_ROWS] = sizeof(ClassRow), [ROWS] = 8, [PATCHES] = sizeof(Patch),
        [PREDICATES] = sizeof(Predicate), [OPS] = sizeof(Op), [LITERALS] = sizeof(Text), [NUMBERS] = 8, [TRUTHS] = 1,
        [TESTS] = sizeof(Test), [CLASS_SETS] = 8, [GATE_VARIANTS] = 2, [FLAGS] = sizeof(Flag), [FLAG_TABLE] = sizeof(Entry),
        [FLAG_NODES] = 2, [FLAG_TESTS] = 4, [TREES] = sizeof(TreeNode), [SERVES] = 4, [GATED] = sizeof(Gated),
        [PREREQUISITES] = sizeof(Prerequisite), [OUTCOMES] = sizeof(Outcome), [SPLITS] = sizeof(Split),
        [RANGES] = sizeof(Range), [SOURCE_CHUNKS] = sizeof(SourceChunk), [SOURCE_MAP] = 1};
    const Header *h = (const Header *)blob;
    CHECK(length >= sizeof(Header) && memcmp(h->magic, FORMAT_MAGIC, 8) == 0, "not a snapshot");
    CHECK(h->format == FORMAT_VERSION, "another format version");
    CHECK(h->header_length == sizeof(Header) && h->length == length, "truncated, or longer than it says");
    uint64_t end = sizeof(Header);
    for (int s = 0; s < SECTION_COUNT; s++) {
        uint64_t offset = (end + 63) & ~63ull;
        CHECK(h->sections[s].offset == offset && inside(offset, h->sections[s].length, length), "a section is out of place");
        CHECK(h->sections[s].length % record[s] == 0, "a section ends inside a record");
        end = offset + h->sections[s].length;
    }
    CHECK(end == length, "bytes behind the last section");
    return 0;
}

static void open_sections(Image *im, const uint8_t *blob) {
    const Header *h = im->header = (const Header *)blob;
#define OPEN(member, count, id, type) \
    im->member = (const type *)(blob + h->sections[id].offset), im->count = h->sections[id].length / sizeof(type)
    uint32_t entries;
    OPEN(text, text_length, TEXT, uint8_t);
    OPEN(nodes, node_count, NODES, Node);
    OPEN(slots, slot_count, SLOTS, Slot);
    OPEN(points, point_count, POINTS, Point);
    OPEN(regions, region_count, REGIONS, uint16_t);
    OPEN(dictionary, dictionary_count, DICTIONARY, Entry);
    OPEN(id_tables, id_table_count, ID_TABLES, IdTable);
    OPEN(id_starts, id_start_count, ID_STARTS, uint32_t);
    OPEN(id_tags, id_tag_count, ID_TAGS, uint64_t);
    OPEN(id_classes, id_class_count, ID_CLASSES, uint16_t);
    OPEN(class_rows, class_row_count, CLASS_ROWS, ClassRow);
    OPEN(rows, row_word_count, ROWS, uint64_t);
    OPEN(patches, patch_count, PATCHES, Patch);
    OPEN(predicates, predicate_count, PREDICATES, Predicate);
    OPEN(ops, op_count, OPS, Op);
    OPEN(literals, literal_count, LITERALS, Text);
    OPEN(numbers, number_count, NUMBERS, double);
    OPEN(truths, truth_count, TRUTHS, uint8_t);
    OPEN(tests, test_count, TESTS, Test);
    OPEN(class_sets, class_set_count, CLASS_SETS, uint64_t);
    OPEN(gate_variants, gate_variant_count, GATE_VARIANTS, uint16_t);
    OPEN(flags, flag_count, FLAGS, Flag);
    OPEN(flag_nodes, flag_node_count, FLAG_NODES, uint16_t);
    OPEN(flag_tests, flag_test_count, FLAG_TESTS, uint32_t);
    OPEN(trees, tree_count, TREES, TreeNode);
    OPEN(serves, serve_count, SERVES, uint32_t);
    OPEN(gated, gated_count, GATED, Gated);
    OPEN(prerequisites, prerequisite_count, PREREQUISITES, Prerequisite);
    OPEN(outcomes, outcome_count, OUTCOMES, Outcome);
    OPEN(splits, split_count, SPLITS, Split);
    OPEN(ranges, range_count, RANGES, Range);
    OPEN(chunks, chunk_count, SOURCE_CHUNKS, SourceChunk);
    OPEN(source_map, source_map_length, SOURCE_MAP, uint8_t);
    im->node_table = (const Entry *)(blob + h->sections[NODE_TABLE].offset);
    entries = h->sections[NODE_TABLE].length / sizeof(Entry);
    im->node_bits = entries ? 31 - __builtin_clz(entries) : 0;
    im->flag_table = (const Entry *)(blob + h->sections[FLAG_TABLE].offset);
    entries = h->sections[FLAG_TABLE].length / sizeof(Entry);
    im->flag_bits = entries ? 31 - __builtin_clz(entries) : 0;
    im->word_count = (h->bit_count + 63) / 64;
#undef OPEN
}

/* A hash table of 2^bits entries whose targets are below `limit`. */
static int verify_table(Verifier *v, const Entry *table, uint64_t available, int bits, uint32_t limit) {
    CHECK(bits >= 1 && bits <= 24 && (1u << bits) <= available, "a table has no power of two of entries");
    uint32_t size = 1u << bits, run = 0, longest = 0, empty = 0;
    SPEND(size);
    for (uint32_t i = 0; i < size; i++) {
        if (table[i].target == NONE16) { empty++; run = 0; continue; }
        CHECK(table[i].target < limit, "a table leads nowhere");
        CHECK_TEXT(table[i].at, table[i].length);
        if (++run > longest) longest = run;
    }
    for (uint32_t i = 0; i < size && table[i].target != NONE16; i++) run++; /* around the end */
    CHECK(empty && longest <= MAX_PROBE && run <= MAX_PROBE, "a table is too full");
    return 0;
}

static int verify_nodes(Verifier *v) {
    const Image *im = v->im;
    const Header *h = im->header;
    CHECK(im->text_length >= 64, "TEXT has no end");
    for (int i = 1; i <= 64; i++) CHECK(im->text[im->text_length - i] == 0, "TEXT has no end");
    CHECK_TEXT(h->environment_at, h->environment_length);
    CHECK_TEXT(h->flag_set_at, h->flag_set_length);
    CHECK_TEXT(h->metadata_at, h->metadata_length);
    CHECK(im->node_count >= 1 && im->node_count <= MAX_NODES, "too many attributes, or none");
    CHECK(im->nodes[0].parent == NONE16, "the first node is not the context");
    CHECK_TEXT(im->nodes[0].at, im->nodes[0].length);
    uint8_t *depth = calloc(im->node_count, 1);
    CHECK(depth, "out of memory");
    for (uint32_t i = 1; i < im->node_count; i++) {
        const Node *n = &im->nodes[i];
        if (n->parent >= i || !inside(n->at, n->length, im->text_length - 64) ||
            (depth[i] = (uint8_t)(depth[n->parent] + 1)) > MAX_DEPTH) {
            free(depth);
            return refuse(v, "an attribute path is broken");
        }
    }
    free(depth);
    uint32_t entries = h->sections[NODE_TABLE].length / sizeof(Entry);
    CHECK(entries == 1u << im->node_bits, "a table has no power of two of entries");
    return verify_table(v, im->node_table, entries, im->node_bits, im->node_count);
}

/* The bits that every row must leave standing: each flag's fallthrough. */
static uint64_t *fallthrough_bits(const Image *im) {
    uint64_t *must = calloc(im->word_count + 1, 8);
    if (!must) return NULL;
    for (uint32_t i = 0; i < im->flag_count; i++) {
        uint32_t bit = im->flags[i].first_bit + im->flags[i].bit_count - 1;
        if (im->flags[i].bit_count) must[bit >> 6] |= 1ull << (bit & 63);
    }
    return must;
}

static int verify_patches(Verifier *v, uint32_t first, uint32_t count, uint32_t low, uint32_t high) {
    CHECK(inside(first, count, v->im->patch_count), "patches are outside PATCHES");
    SPEND(count);
    for (uint32_t i = 0; i < count; i++) {
        const Patch *p = &v->im->patches[first + i];
        CHECK(p->word >= low && p->word < high && (i == 0 || p->word > p[-1].word), "a patch is out of place");
    }
    return 0;
}

static int verify_slot(Verifier *v, const Slot *s, const uint64_t *must) {
    const Image *im = v->im;
    uint32_t n = s->class_count;
    CHECK(s->node < im->node_count && s->via < VIA_COUNT && n >= 1 && n <= MAX_CLASSES, "a slot is broken");
    CHECK(s->class_missing < n && s->class_unusable < n && s->class_false < n && s->class_true < n && s->class_string < n &&
          s->class_list < n && s->class_object < n && s->class_default < n, "a slot names a class it does not have");
    CHECK(inside(s->first_point, s->point_count, im->point_count) && s->point_count < MAX_CLASSES, "points are outside POINTS");
    CHECK(inside(s->first_region, 2 * (uint64_t)s->point_count + 1, im->region_count), "regions are outside REGIONS");
    SPEND(4 * (uint64_t)s->point_count + 1);
    for (uint32_t i = 0; i <= 2 * s->point_count; i++) CHECK(im->regions[s->first_region + i] < n, "a region has no class");
    if (s->dictionary_bits) {
        CHECK(s->dictionary_bits <= 24 && s->first_entry <= im->dictionary_count, "a dictionary is outside DICTIONARY");
        if (verify_table(v, im->dictionary + s->first_entry, im->dictionary_count - s->first_entry, s->dictionary_bits, n)) return -1;
    }
    if (s->via == VIA_ID) {
        CHECK(s->id_table < im->id_table_count, "an id table is missing");
        const IdTable *t = &im->id_tables[s->id_table];
        CHECK(t->bits >= 1 && t->bits <= 24 && inside(t->first_start, (1ull << t->bits) + 1, im->id_start_count) &&
              inside(t->first_id, t->count, im->id_tag_count) && inside(t->first_id, t->count, im->id_class_count),
              "an id table is outside its sections");
        const uint32_t *start = im->id_starts + t->first_start;
        SPEND((1ull << t->bits) + t->count);
        for (uint32_t i = 0; i < 1u << t->bits; i++)
            CHECK(start[i] <= start[i + 1] && start[i + 1] - start[i] <= MAX_PROBE, "an id table is out of order");
        CHECK(start[0] == 0 && start[1u << t->bits] == t->count, "an id table is out of order");
        for (uint32_t i = 0; i < t->count; i++) CHECK(im->id_classes[t->first_id + i] < n, "an id has no class");
    }
    CHECK(inside(s->first_word, s->word_count, im->word_count), "a slot is outside the matrix");
    CHECK(inside(s->first_row, n, im->class_row_count), "rows are outside CLASS_ROWS");
    const ClassRow *base = &im->class_rows[s->first_row + s->class_default];
    CHECK(base->patches == DENSE, "a default row is sparse");
    for (uint32_t c = 0; c < n; c++) {
        const ClassRow *row = &im->class_rows[s->first_row + c];
        if (row->patches == DENSE && row->first == base->first && c != s->class_default) continue; /* many classes may share it */
        if (row->patches == DENSE) {
            CHECK(inside(row->first, s->word_count, im->row_word_count), "a row is outside ROWS");
            SPEND(s->word_count + 1);
            uint64_t lost = 0;
            for (uint32_t w = 0; w < s->word_count; w++) lost |= must[s->first_word + w] & ~im->rows[row->first + w];
            CHECK(!lost, "a row strikes a fallthrough");
        } else {
            CHECK(row->patches <= MAX_PATCHES, "a row has too many patches");
            if (verify_patches(v, row->first, row->patches, s->first_word, s->first_word + s->word_count)) return -1;
            for (uint32_t i = 0; i < row->patches; i++) {
                const Patch *p = &im->patches[row->first + i];
                CHECK((p->bits & must[p->word]) == must[p->word], "a row strikes a fallthrough");
            }
        }
    }
    return 0;
}

static int verify_slots(Verifier *v) {
    const Image *im = v->im;
    CHECK(im->slot_count <= MAX_SLOTS, "too many slots");
    SPEND(im->point_count);
    for (uint32_t i = 0; i < im->point_count; i++) {
        CHECK_TEXT(im->points[i].at, im->points[i].length);
        /* a pre-release is compared identifier by identifier, which needs it well-formed */
        const uint8_t *text = im->text + im->points[i].at, *end = text + im->points[i].length;
        SPEND(im->points[i].length);
        CHECK(text == end || semver_identifiers(text, end, 1) == end, "a pre-release is malformed");
    }
    uint64_t *must = fallthrough_bits(im);
    CHECK(must, "out of memory");
    int failed = 0;
    uint64_t masks = 0;
    for (uint32_t i = 0; i < im->slot_count && !failed; i++) {
        failed = verify_slot(v, &im->slots[i], must);
        if (im->slots[i].via == VIA_NOW) v->im->timed = 1;
    }
    for (uint32_t i = 0; i < im->predicate_count && !failed; i++) {
        const Predicate *p = &im->predicates[i];
        failed = verify_patches(v, p->first_true, p->true_count, 0, im->word_count) ||
                 verify_patches(v, p->first_false, p->false_count, 0, im->word_count);
        masks += (uint64_t)p->true_count + p->false_count;
        for (uint32_t k = 0; k < p->true_count && !failed; k++) {
            const Patch *m = &im->patches[p->first_true + k];
            if (m->bits & must[m->word]) failed = refuse(v, "a predicate strikes a fallthrough");
        }
        for (uint32_t k = 0; k < p->false_count && !failed; k++) {
            const Patch *m = &im->patches[p->first_false + k];
            if (m->bits & must[m->word]) failed = refuse(v, "a predicate strikes a fallthrough");
        }
    }
    free(must);
    return failed || spend(v, v->treeless * (im->slot_count + im->predicate_count + masks)) ? -1 : 0;
}

typedef struct { uint8_t named, depth, scope; } OpPlace;

static int place_child(Verifier *v, OpPlace *places, uint32_t child, uint32_t parent, uint8_t deeper) {
    CHECK(child < parent && !places[child].named, "an operation is not a tree");
    places[child] = (OpPlace){1, (uint8_t)(places[parent].depth + 1), (uint8_t)(places[parent].scope + deeper)};
    CHECK(places[child].depth <= MAX_OP_DEPTH && places[child].scope <= MAX_SCOPE, "an operation is too deep");
    return 0;
}

static int verify_operand(Verifier *v, const Op *op, uint8_t scope) {
    const Image *im = v->im;
    CHECK(op->via < VIA_ID && op->scope <= scope, "an operand is broken");
    if (op->scope == 0) CHECK(op->node < im->node_count, "an operand is broken");
    else CHECK(op->steps <= MAX_STEPS && inside(op->node, op->steps, im->literal_count), "an operand is broken");
    if (op->via == VIA_NOW) v->im->timed = 1;
    return 0;
}

static int verify_op(Verifier *v, const Op *ops, uint32_t i, OpPlace *places) {
    const Image *im = v->im;
    const Op *op = &ops[i];
    int textual = op->via <= VIA_LOWER;
    switch (op->kind) {
    case OP_CONSTANT: CHECK(op->a <= 2, "a truth is none"); return 0;
    case OP_AND: case OP_OR: return place_child(v, places, op->a, i, 0) || place_child(v, places, op->b, i, 0) ? -1 : 0;
    case OP_NOT: return place_child(v, places, op->a, i, 0);
    case OP_CLASS_IS:
        CHECK(op->a < im->slot_count && inside(op->b, im->slots[op->a].class_count, im->truth_count), "a truth is missing");
        return 0;
    }
    if (verify_operand(v, op, places[i].scope)) return -1;
    switch (op->kind) {
    case OP_HAS: case OP_OPERAND: return 0;
    case OP_IN_STRINGS: CHECK(textual, "an operand is broken"); /* fall through */
    case OP_HAS_STRING: CHECK(inside(op->a, op->b, im->literal_count), "literals are missing"); return 0;
    case OP_IN_NUMBERS: case OP_HAS_NUMBER: CHECK(inside(op->a, op->b, im->number_count), "numbers are missing"); return 0;
    case OP_IN_BOOLEANS: case OP_HAS_BOOLEAN: CHECK(op->a <= 3, "a boolean is none"); return 0;
    case OP_MATCHES: CHECK(op->n == v->im->regex_count++, "regexes are out of order"); /* fall through */
    case OP_ORDER_TEXT: case OP_STARTS_WITH: case OP_ENDS_WITH: case OP_CONTAINS_TEXT:
        CHECK(textual && op->order < ORDER_COUNT, "an operand is broken");
        CHECK_TEXT(op->a, op->b);
        return 0;
    case OP_ORDER_KEY: CHECK(op->a < im->point_count && op->order < ORDER_COUNT, "a point is missing"); return 0;
    case OP_IN_NETWORKS: CHECK(inside(op->a, 2 * (uint64_t)op->b, im->point_count), "points are missing"); return 0;
    case OP_EXISTS: case OP_ALL: return place_child(v, places, op->a, i, 1);
    case OP_ORDER_OPERANDS:
        CHECK(op->order < ORDER_COUNT && op->a < i && ops[op->a].kind == OP_OPERAND, "an operand is missing");
        return place_child(v, places, op->a, i, 0);
    default: return refuse(v, "an operation is unknown");
    }
}

static int verify_predicates(Verifier *v) {
    const Image *im = v->im;
    CHECK(im->predicate_count <= MAX_PREDICATES, "too many predicates");
    SPEND((uint64_t)im->literal_count + im->truth_count);
    for (uint32_t i = 0; i < im->literal_count; i++) CHECK_TEXT(im->literals[i].at, im->literals[i].length);
    for (uint32_t i = 0; i < im->truth_count; i++) CHECK(im->truths[i] <= UNKNOWN, "a truth is none");
    uint32_t next = 0;
    for (uint32_t i = 0; i < im->predicate_count; i++) {
        const Predicate *p = &im->predicates[i];
        CHECK(p->first_op == next && p->op_count >= 1 && inside(next, p->op_count, im->op_count), "operations are out of place");
        next += p->op_count;
        OpPlace *places = calloc(p->op_count, sizeof(OpPlace));
        CHECK(places, "out of memory");
        int failed = 0;
        places[p->op_count - 1].named = 1;
        uint32_t regexes = v->im->regex_count, matches = 0;
        const Op *ops = im->ops + p->first_op;
        for (uint32_t k = 0; k < p->op_count; k++) matches += ops[k].kind == OP_MATCHES;
        for (uint32_t k = p->op_count; k-- > 0 && !failed;) { /* parents first */
            if (!places[k].named) failed = refuse(v, "an operation is not a tree");
            else {
                if (ops[k].kind == OP_MATCHES) v->im->regex_count = regexes + --matches; /* numbered forwards */
                failed = verify_op(v, ops, k, places);
                if (ops[k].kind == OP_OPERAND && k == p->op_count - 1) failed = refuse(v, "an operation is unknown");
            }
        }
        v->im->regex_count = regexes;
        for (uint32_t k = 0; k < p->op_count; k++) v->im->regex_count += ops[k].kind == OP_MATCHES;
        free(places);
        if (failed) return -1;
    }
    CHECK(next == im->op_count, "operations are out of place");
    return 0;
}

static int verify_tests(Verifier *v) {
    const Image *im = v->im;
    SPEND(im->test_count);
    for (uint32_t i = 0; i < im->test_count; i++) {
        const Test *t = &im->tests[i];
        switch (t->kind) {
        case TEST_CLASS:
            CHECK(t->subject < im->slot_count, "a test asks nothing");
            CHECK(inside(t->first, (im->slots[t->subject].class_count + 63u) / 64, im->class_set_count), "a class set is missing");
            break;
        case TEST_TRUE: case TEST_FALSE: CHECK(t->subject < im->predicate_count, "a test asks nothing"); break;
        case TEST_FLAG:
            CHECK(t->subject < im->flag_count && inside(t->first, t->count, im->gate_variant_count) && t->count <= 1024,
                  "a test asks nothing");
            break;
        default: return refuse(v, "a test is unknown");
        }
    }
    return 0;
}

static int verify_outcome(Verifier *v, const Flag *f, const Outcome *o, uint32_t *longest) {
    const Image *im = v->im;
    uint32_t prefix = key_end(f);
    CHECK(inside(o->at, (uint64_t)o->length + 1, im->text_length - 64) && o->length > prefix + 1, "a fragment is missing");
    const uint8_t *t = im->text + o->at;
    CHECK(memcmp(t, "{\"key\":\"", 8) == 0 && memcmp(t + 8, im->text + f->key_at, f->key_length) == 0 &&
          t[prefix - 2] == '"' && t[prefix - 1] == ',' && t[o->length - 1] == '}' && t[o->length] == ',', "a fragment is malformed");
    CHECK(!(o->bits & OUTCOME_METADATA) || t[o->length - 2] == '}', "a fragment is malformed");
    v->fragments += o->length;
    CHECK(v->fragments <= im->text_length, "fragments overlap"); /* or an answer might be of any size */
    CHECK(o->reason < REASON_COUNT && (o->variant < f->variant_count || o->variant == NONE16), "an outcome is broken");
    if (o->length > *longest) *longest = o->length;
    return 0;
}

static int verify_serve(Verifier *v, const Flag *f, uint32_t serve, const uint32_t *split_outcomes) {
    const Image *im = v->im;
    uint32_t index = SERVE_INDEX(serve);
    switch (SERVE_KIND(serve)) {
    case SERVE_OUTCOME: CHECK(index < f->outcome_count, "a serve has no outcome"); return 0;
    case SERVE_SPLIT: CHECK(index < im->split_count && split_outcomes[index] < f->outcome_count, "a serve has no split"); return 0;
    default: return refuse(v, "a serve is unknown");
    }
}

static int verify_flag(Verifier *v, uint32_t index, uint32_t *next_bit_index, const uint32_t *split_outcomes, uint8_t *depth) {
    Image *im = v->im;
    const Flag *f = &im->flags[index];
    CHECK_TEXT(f->key_at, f->key_length);
    CHECK(f->key_length >= 1 && f->key_length <= 256 && f->type <= 4 && f->chunk < im->chunk_count, "a flag is broken");
    for (uint32_t i = 0; i < f->key_length; i++) {
        uint8_t b = im->text[f->key_at + i];
        CHECK(is_identifier(b) || b == '.' || b == '_', "a flag's key is malformed");
    }
    CHECK((f->bit_count == 0) == (index < im->header->constant_count), "constants are not first");
    CHECK(f->bit_count <= MAX_FLAG_BITS && f->first_bit == *next_bit_index && inside(f->first_bit, f->bit_count, im->serve_count),
          "conjunctions are out of place");
    *next_bit_index += f->bit_count;
    CHECK(f->outcome_count <= MAX_FLAG_OUTCOMES, "a flag has too many outcomes");
    CHECK(f->outcome_count >= 1 && inside(f->first_outcome, f->outcome_count, im->outcome_count), "a flag has no outcomes");
    CHECK(inside(f->first_node, f->node_count, im->flag_node_count) && inside(f->first_test, f->test_count, im->flag_test_count) &&
          inside(f->first_tree, f->tree_count, im->tree_count) && f->tree_count < LEAF &&
          inside(f->first_prerequisite, f->prerequisite_count, im->prerequisite_count), "a flag is broken");
    CHECK(f->bit_count || (!f->prerequisite_count && !f->tree_count), "a constant depends on something");
    SPEND((uint64_t)f->outcome_count + f->node_count + f->test_count + f->tree_count + f->prerequisite_count + f->bit_count);
    uint32_t longest = f->key_length + 160; /* an error entry */
    for (uint32_t i = 0; i < f->outcome_count; i++)
        if (verify_outcome(v, f, &im->outcomes[f->first_outcome + i], &longest)) return -1;
    im->answer_bound += longest + 1;
    const uint16_t *nodes = im->flag_nodes + f->first_node;
    for (uint32_t i = 0; i < f->node_count; i++)
        CHECK(nodes[i] < im->node_count && (i == 0 || nodes[i] > nodes[i - 1]), "a flag reads nothing, or a path twice");
    v->treeless += f->bit_count > 1 && !f->tree_count;
    depth[index] = 1;
    for (uint32_t i = 0; i < f->test_count; i++) {
        CHECK(im->flag_tests[f->first_test + i] < im->test_count, "a flag tests nothing");
        const Test *t = &im->tests[im->flag_tests[f->first_test + i]];
        if (t->kind != TEST_FLAG) continue;
        CHECK(t->subject < index, "a flag depends on a later one");
        if (depth[t->subject] >= depth[index]) depth[index] = depth[t->subject] + 1;
        im->depends = 1;
    }
    for (uint32_t i = 0; i < f->prerequisite_count; i++) {
        const Prerequisite *p = &im->prerequisites[f->first_prerequisite + i];
        CHECK(p->test < im->test_count && im->tests[p->test].kind == TEST_FLAG && p->outcome < f->outcome_count,
              "a prerequisite is broken");
        CHECK(im->tests[p->test].subject < index, "a flag depends on a later one");
        if (depth[im->tests[p->test].subject] >= depth[index]) depth[index] = depth[im->tests[p->test].subject] + 1;
        im->depends = 1;
    }
    CHECK(depth[index] <= MAX_DEPENDENCY_DEPTH, "dependencies are too deep");
    for (uint32_t i = 0; i < f->tree_count; i++) {
        const TreeNode *n = &im->trees[f->first_tree + i];
        const uint16_t children[2] = {n->yes, n->no};
        CHECK(n->test < f->test_count, "a tree tests nothing");
        for (int k = 0; k < 2; k++)
            CHECK(children[k] & LEAF ? (children[k] & ~LEAF) < f->bit_count : children[k] > i && children[k] < f->tree_count,
                  "a tree goes astray");
    }
    for (uint32_t i = 0; i < f->bit_count; i++) {
        uint32_t serve = im->serves[f->first_bit + i];
        if (SERVE_KIND(serve) == SERVE_GATED) {
            CHECK(i + 1 < f->bit_count && SERVE_INDEX(serve) < im->gated_count, "a gate is out of place");
            const Gated *g = &im->gated[SERVE_INDEX(serve)];
            CHECK(g->first_test >= f->first_test && inside(g->first_test - f->first_test, g->test_count, f->test_count),
                  "a gate tests nothing");
            serve = g->serve;
        }
        if (verify_serve(v, f, serve, split_outcomes)) return -1;
    }
    return 0;
}

static int verify_splits(Verifier *v, uint32_t *highest) {
    const Image *im = v->im;
    for (uint32_t i = 0; i < im->split_count; i++) {
        const Split *s = &im->splits[i];
        CHECK(s->node < im->node_count && s->range_count >= 1 && inside(s->first_range, s->range_count, im->range_count),
              "a split is broken");
        SPEND(s->range_count);
        const Range *r = im->ranges + s->first_range;
        for (uint32_t k = 0; k < s->range_count; k++) {
            CHECK(k == 0 || r[k].end > r[k - 1].end, "a split's ranges are out of order");
            if (r[k].outcome > highest[i]) highest[i] = r[k].outcome;
        }
        CHECK(r[s->range_count - 1].end == BUCKET_COUNT, "a split does not cover all buckets");
    }
    return 0;
}

static int verify_constants(Verifier *v) {
    const Image *im = v->im;
    CHECK(im->header->constant_count <= im->flag_count, "constants are not first");
    for (uint32_t i = 1; i < im->header->constant_count; i++) {
        const Outcome *before = &im->outcomes[im->flags[i - 1].first_outcome], *o = &im->outcomes[im->flags[i].first_outcome];
        CHECK(o->at == before->at + before->length + 1, "constants do not touch");
    }
    return 0;
}

static int verify_flags(Verifier *v) {
    Image *im = v->im;
    CHECK(im->flag_count <= MAX_FLAGS, "too many flags");
    CHECK(im->header->bit_count <= MAX_BITS && im->serve_count == im->header->bit_count, "too many conjunctions");
    uint32_t entries = im->header->sections[FLAG_TABLE].length / sizeof(Entry), next = 0;
    CHECK(entries == 1u << im->flag_bits, "a table has no power of two of entries");
    if (verify_table(v, im->flag_table, entries, im->flag_bits, im->flag_count)) return -1;
    uint32_t *highest = calloc((size_t)im->split_count + 1, 4);
    uint8_t *depth = calloc((size_t)im->flag_count + 1, 1);
    int failed = !highest || !depth ? refuse(v, "out of memory") : verify_splits(v, highest);
    for (uint32_t i = 0; i < im->flag_count && !failed; i++) failed = verify_flag(v, i, &next, highest, depth);
    free(highest);
    free(depth);
    if (failed) return -1;
    CHECK(next == im->header->bit_count, "conjunctions are out of place");
    return verify_constants(v);
}

static int verify_source_map(Verifier *v) {
    for (uint32_t i = 0; i < v->im->chunk_count; i++) {
        const SourceChunk *c = &v->im->chunks[i];
        CHECK(inside(c->offset, c->length, v->im->source_map_length) && c->raw_length <= MAX_CHUNK, "the source map is broken");
    }
    return 0;
}

/* NULL, or what is wrong. The blob must outlive the image. */
static const char *image_open(Image *im, const uint8_t *blob, uint64_t length) {
    Verifier verifier = {.im = im, .budget = 64 * length + 1000000}, *v = &verifier;
    memset(im, 0, sizeof *im);
    if (verify_sections(v, blob, length)) return v->why;
    open_sections(im, blob);
    /* flags before slots: they say which bits are fallthroughs */
    if (verify_nodes(v) || verify_tests(v) || verify_flags(v) || verify_slots(v) || verify_predicates(v) || verify_source_map(v))
        return v->why;
    return NULL;
}

#undef CHECK
#undef CHECK_TEXT
#undef SPEND
#endif
