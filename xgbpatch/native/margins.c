/* Predictions: the additions of xgboost, in its order and in single precision. */
#include <stdlib.h>

#include "library.h"
#include "trees.h"

static inline float leaf_of(const Forest *f, const Tree *tree, const float *row) {
    if (!tree->count) return tree->leaf;
    const Split *n = tree->splits;
    for (;;) {
        float value = row[n->feature];
        int left;
        if (value != value) left = (n->meta & DEFAULT_LEFT) != 0;
        else if (n->meta & CATEGORICAL) left = category_left(f->categories + n->categories, value);
        else left = value < n->condition;
        Child child = left ? n->left : n->right;
        if (n->meta & (left ? LEFT_LEAF : RIGHT_LEAF)) return child.leaf;
        n = tree->splits + child.split;
    }
}

/* A tree for many rows: leaves are steps to themselves, so that rows go down side by side without a branch. */
typedef struct {
    float condition; /* or the value of a leaf */
    uint32_t input;  /* 2 * feature, and 1 where a missing value goes left */
    int32_t next[2]; /* right, left */
} Hop;

/* Fills `hops` (2 * splits + 1); returns the first leaf, or 0 for a tree that is walked row by row. */
static int32_t lay_out(const Tree *tree, Hop *hops) {
    int32_t leaf = tree->count;
    for (int32_t i = 0; i < tree->count; i++) {
        const Split *n = tree->splits + i;
        if (n->meta & CATEGORICAL) return 0;
        hops[i].condition = n->condition;
        hops[i].input = 2 * (uint32_t)n->feature + ((n->meta & DEFAULT_LEFT) != 0);
        for (int left = 0; left < 2; left++) {
            Child child = left ? n->left : n->right;
            if (n->meta & (left ? LEFT_LEAF : RIGHT_LEAF)) {
                hops[leaf] = (Hop){child.leaf, 0, {leaf, leaf}};
                hops[i].next[left] = leaf++;
            } else {
                hops[i].next[left] = child.split;
            }
        }
    }
    return tree->count;
}

enum { ROWS = 512, ABREAST = 8 }; /* rows that a tree is walked for before the next one, and how many at a time */

static void add_leaves(const Hop *hops, int32_t first_leaf, int32_t depth, const float *rows, int64_t features,
                       float *sums) {
    int32_t at[ABREAST] = {0};
    for (int32_t level = 0; level < depth; level++) {
        int32_t lowest = INT32_MAX;
        for (int i = 0; i < ABREAST; i++) {
            const Hop *hop = hops + at[i];
            float value = rows[i * features + (hop->input >> 1)];
            at[i] = hop->next[(value < hop->condition) | ((value != value) & hop->input)];
            lowest = at[i] < lowest ? at[i] : lowest;
        }
        if (level % 4 == 3 && lowest >= first_leaf) break;
    }
    for (int i = 0; i < ABREAST; i++) sums[i] += hops[at[i]].condition;
}

/* `base`: the margin of each output before its trees, (outputs,), or (n, outputs) where `each` is 1. `last`: xgboost
   adds it after the trees. `margins` gets (n, outputs). Returns 0, or 1 where memory is missing. */
EXPORT int32_t xgbpatch_margins(const Forest *f, const float *rows, int64_t n, const float *base, int32_t each,
                                int32_t last, float *margins) {
    const int64_t outputs = f->outputs;
    Hop *hops = n < ABREAST ? NULL : malloc((2 * (size_t)f->splits + 1) * sizeof *hops);
    if (n >= ABREAST && !hops) return 1;
    for (int64_t from = 0; from < n; from += ROWS) {
        const int64_t here = n - from < ROWS ? n - from : ROWS;
        const float *some = rows + from * f->features;
        for (int64_t o = 0; o < outputs; o++) {
            float sums[ROWS];
            for (int64_t i = 0; i < here; i++) sums[i] = last ? 0 : base[each ? (from + i) * outputs + o : o];
            for (int64_t t = f->first[o]; t < f->first[o + 1]; t++) {
                const Tree *tree = f->trees + t;
                int64_t i = 0;
                int32_t first_leaf = here < ABREAST ? 0 : lay_out(tree, hops);
                for (; first_leaf && i + ABREAST <= here; i += ABREAST)
                    add_leaves(hops, first_leaf, tree->depth, some + i * f->features, f->features, sums + i);
                for (; i < here; i++) sums[i] += leaf_of(f, tree, some + i * f->features);
            }
            for (int64_t i = 0; i < here; i++) {
                int64_t at = (from + i) * outputs + o;
                margins[at] = last ? sums[i] + base[each ? at : o] : sums[i];
            }
        }
    }
    free(hops);
    return 0;
}
