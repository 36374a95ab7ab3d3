/* Forests from xgboost's arrays. */
#include "trees.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "library.h"

enum { OK = 0, NO_MEMORY = 1, NOT_A_TREE = 2, TOO_DEEP = 3, CONDITION = 4 };
enum { MOST_DEPTH = 100000 };
enum { NO_COVER = 1, TOO_MANY_FEATURES = 2 }; /* bits of Forest.unexplained */

EXPORT void xgbpatch_forest_free(Forest *f) {
    if (!f) return;
    for (int64_t i = 0; i < f->count; i++) {
        free((void *)f->trees[i].splits);
        free((void *)f->trees[i].order);
    }
    free(f->trees), free(f->first), free(f->categories), free(f->rule), free(f->mean), free(f);
}

EXPORT Forest *xgbpatch_forest(int32_t features, int32_t outputs) {
    Forest *f = calloc(1, sizeof *f);
    if (!f) return NULL;
    f->features = features;
    f->outputs = outputs;
    f->nodes = 1;
    f->splits = 1;
    f->bytes = sizeof *f;
    f->first = calloc((size_t)outputs + 1, sizeof *f->first);
    f->mean = calloc((size_t)outputs, sizeof *f->mean);
    if (f->first && f->mean) return f;
    xgbpatch_forest_free(f);
    return NULL;
}

/* A tree as xgboost's arrays have it. */
typedef struct {
    const int32_t *left, *right, *feature;
    const float *condition, *cover;
    const uint8_t *default_left;
    const int32_t *categorical; /* of each node, where its set begins in `sets`, or -1; NULL: none has one */
    const uint32_t *sets;       /* how many words, then these */
} Arrays;

/* Whether a node is a split of two leaves. */
static int turns_at(const Arrays *a, int32_t node) {
    return a->left[node] >= 0 && a->left[a->left[node]] < 0 && a->left[a->right[node]] < 0;
}

/* The order of splits in memory: see Tree. `numbers` gets the place of every node that is a split. */
static int number(const Arrays *a, const int32_t *reached, int32_t visited, const uint8_t *repeated, int32_t *numbers,
                  int32_t *inner, int32_t *plain) {
    int32_t next = 0;
    for (int kind = 0; kind < 3; kind++) {
        for (int32_t i = 0; i < visited; i++) {
            int32_t node = reached[i];
            if (a->left[node] < 0) continue;
            if ((turns_at(a, node) ? 1 + repeated[node] : 0) == kind) numbers[node] = next++;
        }
        if (kind == 0) *inner = next;
        if (kind == 1) *plain = next;
    }
    return next;
}

/* Nodes depth first, parents before children, the left one first; NOT_A_TREE where one is met twice or is not there. */
static int check(const Arrays *a, int32_t n, int32_t features, int32_t *reached, int32_t *stack, int32_t *visited) {
    int32_t top = 0, count = 0;
    stack[top++] = 0;
    while (top) {
        int32_t node = stack[--top];
        if (count == n) return NOT_A_TREE;
        reached[count++] = node;
        int32_t l = a->left[node], r = a->right[node];
        if (l < 0) continue;
        if (l >= n || r < 0 || r >= n || top + 2 > n + 1) return NOT_A_TREE;
        if (a->feature[node] < 0 || a->feature[node] >= features) return NOT_A_TREE;
        if (!(a->categorical && a->categorical[node] >= 0) && !(a->condition[node] > -INFINITY)) return CONDITION;
        stack[top++] = r;
        stack[top++] = l;
    }
    *visited = count;
    return OK;
}

static int fill(Forest *f, Tree *tree, const Arrays *a, float weight, const int32_t *reached, int32_t visited,
                int32_t *numbers, uint8_t *repeated);

/* Adds a tree of `n` nodes to the last output that has been begun. Its leaves are multiplied by `weight` as xgboost
   does it. Returns OK or what is wrong; then the forest is as it was. */
EXPORT int32_t xgbpatch_forest_add(Forest *f, int32_t n, const int32_t *left, const int32_t *right,
                                   const int32_t *feature, const float *condition, const uint8_t *default_left,
                                   const float *cover, float weight, const int32_t *categorical,
                                   const uint32_t *sets, int64_t words) {
    if (n < 1) return NOT_A_TREE;
    if (f->count == f->capacity) {
        int64_t capacity = f->capacity ? 2 * f->capacity : 64;
        Tree *more = realloc(f->trees, (size_t)capacity * sizeof *more);
        if (!more) return NO_MEMORY;
        f->trees = more;
        f->capacity = capacity;
    }
    if (f->words + words > f->words_capacity) {
        int64_t capacity = 2 * f->words_capacity + words;
        uint32_t *more = realloc(f->categories, (size_t)capacity * sizeof *more);
        if (!more) return NO_MEMORY;
        f->categories = more;
        f->words_capacity = capacity;
    }
    Arrays a = {left, right, feature, condition, cover, default_left, categorical, sets};
    /* the nodes that are reached; the stack of those to come, which needs one more, and then the places of splits */
    int32_t *work = malloc(((size_t)n + 1) * 2 * sizeof *work);
    uint8_t *repeated = calloc((size_t)n, 1);
    Tree tree = {.leaf = 0};
    int32_t visited = 0;
    int error = work && repeated ? OK : NO_MEMORY;
    if (!error) error = check(&a, n, f->features, work, work + n + 1, &visited);
    if (!error) error = fill(f, &tree, &a, weight, work, visited, work + n + 1, repeated);
    free(work), free(repeated);
    if (error) return error;
    if (words) memcpy(f->categories + f->words, sets, (size_t)words * sizeof *sets);
    f->words += words;
    f->trees[f->count++] = tree;
    f->bytes += (int64_t)sizeof tree + tree.count * (int64_t)sizeof(Split) + tree.steps * 4;
    f->total += tree.count;
    f->depth = tree.depth > f->depth ? tree.depth : f->depth;
    f->nodes = tree.nodes > f->nodes ? tree.nodes : f->nodes;
    f->splits = tree.count > f->splits ? tree.count : f->splits;
    return OK;
}

/* What is known of the way from the root to a node while the tree is walked depth first. */
typedef struct {
    int32_t node;
    int32_t split;
    int32_t different; /* features on the path down to here, this split's among them */
    int32_t stage;     /* 0: nothing below is done; 1: left; 2: right */
} Level;

/* The nearest split above `depth` on `feature`, or -1. */
static int32_t nearest(const Level *path, const Arrays *a, int32_t depth, int32_t feature) {
    for (int32_t d = depth - 1; d >= 0; d--)
        if (a->feature[path[d].node] == feature) return d;
    return -1;
}

static int fill(Forest *f, Tree *tree, const Arrays *a, float weight, const int32_t *reached, int32_t visited,
                int32_t *numbers, uint8_t *repeated) {
    if (a->left[0] < 0) {
        tree->leaf = a->condition[0] * weight;
        tree->mean = tree->leaf;
        tree->nodes = 1;
        return OK;
    }
    int32_t count = 0, depth_most = 0, different_most = 0, room = 64;
    for (int32_t i = 0; i < visited; i++) count += a->left[reached[i]] >= 0;
    Level *path = malloc((size_t)room * sizeof *path);
    Split *splits = malloc((size_t)count * sizeof *splits);
    uint32_t *order = malloc((size_t)count * 2 * sizeof *order);
    double *means = malloc((size_t)count * sizeof *means);
    int error = path && splits && order && means ? OK : NO_MEMORY;
    /* twice over the tree: which splits repeat a feature decides where they stand */
    for (int pass = 0; pass < 2 && !error; pass++) {
        int32_t depth = 0, steps = 0;
        path[0] = (Level){0, pass ? numbers[0] : 0, 1, 0};
        while (depth >= 0 && !error) {
            Level *here = path + depth;
            int32_t node = here->node, l = a->left[node], r = a->right[node];
            int turns = turns_at(a, node);
            if (here->stage == 0) {
                int32_t earlier = nearest(path, a, depth, a->feature[node]);
                repeated[node] = earlier >= 0;
                here->different = (depth ? path[depth - 1].different : 0) + (earlier < 0);
                if (here->different > different_most) different_most = here->different;
                if (depth + 1 > depth_most) depth_most = depth + 1;
                if (pass) {
                    Split *s = splits + here->split;
                    double above = a->cover[node], most = 1.01 * above; /* sums in single precision are not exact */
                    int sound = above > 0 && a->cover[l] >= 0 && a->cover[r] >= 0 && a->cover[l] <= most &&
                                a->cover[r] <= most && !isinf(above);
                    if (!sound) f->unexplained |= NO_COVER;
                    if (!sound) above = INFINITY;
                    s->left_ratio = a->cover[l] / above;
                    s->right_ratio = a->cover[r] / above;
                    s->before = 1;
                    s->earlier = 0;
                    s->feature = a->feature[node];
                    s->condition = a->condition[node];
                    s->meta = (a->left[l] < 0 ? LEFT_LEAF : 0) | (a->left[r] < 0 ? RIGHT_LEAF : 0) |
                              (a->default_left[node] ? DEFAULT_LEFT : 0);
                    if (!turns && (a->left[l] < 0 || turns_at(a, l)) && (a->left[r] < 0 || turns_at(a, r)))
                        s->meta |= UNIT;
                    if (a->categorical && a->categorical[node] >= 0) {
                        s->meta |= CATEGORICAL;
                        s->categories = (uint32_t)(f->words + a->categorical[node]);
                    }
                    if (earlier >= 0) { /* stage 1: the path goes on to the left; 2: to the right */
                        const Level *last = path + earlier;
                        const Split *before = splits + last->split;
                        int side = last->stage - 1;
                        s->meta |= REPEATED;
                        s->earlier = 1 + 2 * (uint32_t)last->split + (uint32_t)side;
                        s->before = before->before * (side ? before->right_ratio : before->left_ratio);
                    }
                    int side = depth ? path[depth - 1].stage - 1 : 0;
                    s->meta |= ((uint32_t)depth * 2 + (uint32_t)side) << SLOT_SHIFT;
                    if (a->left[l] < 0) s->left.leaf = a->condition[l] * weight;
                    else s->left.split = numbers[l];
                    if (a->left[r] < 0) s->right.leaf = a->condition[r] * weight;
                    else s->right.split = numbers[r];
                    order[steps++] = 2 * (uint32_t)here->split;
                }
            }
            int32_t child = -1;
            while (here->stage < 2 && child < 0) {
                int32_t next = here->stage++ ? r : l;
                if (a->left[next] >= 0) child = next;
            }
            if (child >= 0) {
                if (depth + 2 > MOST_DEPTH) error = TOO_DEEP;
                if (depth + 2 > room && !error) {
                    Level *more = realloc(path, (size_t)room * 2 * sizeof *more);
                    if (more) path = more, room *= 2;
                    else error = NO_MEMORY;
                }
                if (!error) path[++depth] = (Level){child, pass ? numbers[child] : 0, 0, 0};
                continue;
            }
            if (pass) {
                Split *s = splits + here->split;
                double below_left = s->meta & LEFT_LEAF ? s->left.leaf : means[s->left.split];
                double below_right = s->meta & RIGHT_LEAF ? s->right.leaf : means[s->right.split];
                means[here->split] = s->left_ratio * below_left + s->right_ratio * below_right;
                if (!turns) order[steps++] = 2 * (uint32_t)here->split + 1;
            }
            depth--;
        }
        if (!pass && !error) number(a, reached, visited, repeated, numbers, &tree->inner, &tree->plain);
        tree->steps = steps;
    }
    if (!error) {
        tree->mean = means[numbers[0]];
        tree->count = count;
        tree->depth = depth_most;
        tree->nodes = (different_most + 1) / 2;
        if (tree->nodes > MOST_NODES) f->unexplained |= TOO_MANY_FEATURES, tree->nodes = MOST_NODES;
        tree->splits = splits;
        tree->order = order;
    } else {
        free(splits), free(order);
    }
    free(path), free(means);
    return error;
}

/* All trees of an output have been added; the next one begins. */
EXPORT void xgbpatch_forest_output(Forest *f, int32_t output) { f->first[output + 1] = f->count; }

/* The n nodes in (0, 1) and the n weights of Gauss and Legendre's rule, by Newton's method on the polynomial. */
static void legendre(int n, double *nodes, double *weights) {
    for (int i = 0; i < n; i++) {
        double x = cos(3.14159265358979323846 * (i + 0.75) / (n + 0.5)), slope = 1;
        for (int round = 0; round < 100; round++) {
            double last = 0, value = 1;
            for (int k = 1; k <= n; k++) {
                double next = ((2 * k - 1) * x * value - (k - 1) * last) / k;
                last = value;
                value = next;
            }
            slope = n * (x * value - last) / (x * x - 1);
            double step = value / slope;
            x -= step;
            if (fabs(step) < 1e-15) break;
        }
        nodes[i] = (1 - x) / 2;
        weights[i] = 1 / ((1 - x * x) * slope * slope);
    }
}

/* The forest is complete. */
EXPORT int32_t xgbpatch_forest_end(Forest *f) {
    size_t size = (size_t)f->nodes * ((size_t)f->nodes + 1);
    f->rule = malloc(size * sizeof *f->rule);
    if (!f->rule) return NO_MEMORY;
    for (int n = 1; n <= f->nodes; n++) legendre(n, f->rule + n * (n - 1), f->rule + n * n);
    for (int32_t o = 0; o < f->outputs; o++)
        for (int64_t i = f->first[o]; i < f->first[o + 1]; i++) f->mean[o] += f->trees[i].mean;
    f->bytes += (int64_t)(size * sizeof *f->rule) + f->words * 4;
    return OK;
}

EXPORT int32_t xgbpatch_forest_nodes(const Forest *f) { return f->nodes; }
EXPORT int32_t xgbpatch_forest_unexplained(const Forest *f) { return f->unexplained; }
EXPORT int64_t xgbpatch_forest_bytes(const Forest *f) { return f->bytes; }
EXPORT int64_t xgbpatch_forest_splits(const Forest *f) { return f->total; }
