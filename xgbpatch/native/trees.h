/* A forest as the kernels walk it: the splits of each tree in one array, leaves inside them. */
#ifndef XGBPATCH_TREES_H
#define XGBPATCH_TREES_H

#include <stddef.h>
#include <stdint.h>

/* UNIT: the children are splits of two leaves, or one such and a leaf. */
enum { LEFT_LEAF = 1, RIGHT_LEAF = 2, REPEATED = 4, DEFAULT_LEFT = 8, CATEGORICAL = 16, UNIT = 32, SLOT_SHIFT = 8 };

typedef union {
    int32_t split; /* index in the tree */
    float leaf;
} Child;

typedef struct {
    double left_ratio, right_ratio; /* of the covers of child and node */
    double before;                  /* product of the ratios of earlier edges on the same feature, from the root */
    union {
        float condition;
        uint32_t categories; /* in Forest.categories: how many words of bits follow, and these */
    };
    int32_t feature;
    Child left, right;
    uint32_t earlier; /* the nearest earlier edge on the same feature: 1 + 2 * split + side, or 0 */
    uint32_t meta;    /* flags, and above SLOT_SHIFT 2 * depth + side */
} Split;

/* Splits stand in this order: those with a split below them, parents first; those with two leaves, first ones of their
   feature on the path, then others. `order` has all of them depth first: 2 * split, and 2 * split + 1 after what is
   below it. */
typedef struct {
    const Split *splits;
    const uint32_t *order;
    int32_t count, inner, plain; /* splits; those with a split below; inner and two-leaf splits of REPEATED = 0 */
    int32_t steps;               /* of `order` */
    int32_t depth, nodes;        /* levels of splits; nodes of the quadrature that make the integrals exact */
    float leaf;                  /* of a tree that has no split */
    double mean;                 /* the expectation of the tree, by its covers */
} Tree;

typedef struct {
    int32_t features, outputs;
    int32_t depth, nodes, splits; /* the most of a tree */
    int64_t total;                /* splits of all trees */
    int32_t unexplained; /* why there are no SHAP values, or 0; trees.c has the bits */
    int64_t bytes;
    Tree *trees; /* by output, each in the order of its additions */
    int64_t count, capacity;
    int64_t *first; /* outputs + 1: where the trees of an output begin */
    uint32_t *categories;
    int64_t words, words_capacity;
    double *rule; /* for n = 1 .. nodes, at n * (n - 1): n nodes in (0, 1), then their n weights */
    double *mean; /* by output */
} Forest;

enum { MOST_NODES = 128 }; /* of the quadrature: twice as many features on a path */

/* The side that a value takes at a categorical split; it is not missing. 1: left, the category is not in the set. */
static inline int category_left(const uint32_t *set, float value) {
    if (!(value >= 0) || value >= 16777216.0f) return 1;
    uint32_t category = (uint32_t)value, word = category / 32;
    return word >= set[0] || !(set[1 + word] >> category % 32 & 1);
}

typedef struct {
    int32_t width; /* rows side by side */
    /* rows float32 (n, features) -> double (n, outputs, features + 1); the last value without the base margin. Returns
       0, or 1 where memory is missing. */
    int (*contributions)(const Forest *, const float *rows, int64_t n, double *values);
    int (*contributions_of_row)(const Forest *, const float *row, double *values);
    int (*interactions)(const Forest *, const float *rows, int64_t n, double *values);
} Kernel;

extern const Kernel xgbpatch_baseline;
#ifdef __x86_64__
extern const Kernel xgbpatch_avx2, xgbpatch_avx512;
#endif

#endif
