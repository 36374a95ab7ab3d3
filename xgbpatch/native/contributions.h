/* Exact path-dependent SHAP values of a forest, and their interactions, by Gauss-Legendre quadrature.

   A leaf of value w, below a path on which feature f has the cover share z_f and the row satisfies (o_f = 1) or fails
   (o_f = 0) the splits on f, gives feature i, by the integral form of the Shapley value,
       w (o_i - z_i) * integral over t in (0, 1) of the product over f != i of a_f(t),  a_f(t) = z_f (1 - t) + o_f t.
   The product is a polynomial of a degree below the number of features on the path, so a rule of half as many nodes is
   exact. Take out of the products the cover shares r of the path, whose product is the cover of a node over the root's:
   let G(t) be the product above a split over the product of the r above it, and T(t) the sum over the leaves below of w
   times the r down to the leaf, times the product below the split over the r below it. With l and r the children, rl and
   rr their shares of the split's cover, and a_l = [row goes left] / rl - 1, a_r likewise,
       G_l = G + t G a_l,  G_r = G + t G a_r                                              (down)
       S = T_l + T_r,  D = a_l T_l + a_r T_r,  T = S + t D,  phi_i += sum over nodes of G D   (up)
   Where the feature was on the path before, with share z and all its splits satisfied, with a = z (1 - t) + t, t / a is
   in the place of t, and phi_i += sum of z / a^2 G D; where one of them failed, a_l = a_r = 0, and there is nothing to
   add. All that the row decides is a mask.
   Interactions: at each split, each other feature j above it gets (o_j - z_j) / a_j of what goes into phi_i, halved.

   Method: Yu, Xu, Bifet and Read, Linear TreeSHAP (NeurIPS 2022), for the polynomial; Wettenstein, Mitchell and Yu
   (arXiv 2605.04497) for the quadrature. Values: Lundberg et al., Nature Machine Intelligence 2 (2020). Tables a leaf,
   as in Yang, Fast TreeSHAP (2021), were left aside: they grow as 2^depth, and gather. Down and up as above are ours.

   Batches have rows in the lanes, here; a single row has the nodes of the rule in them, in one_row.h. */
#pragma clang fp contract(fast)
#include <stdlib.h>
#include <string.h>

#include "lanes.h"
#include "trees.h"

#define VECTORS (VARIANT ? 2 : 4) /* of rows, side by side */
#define LANES (WIDTH * VECTORS)
#define LEAST 1e-30 /* share of a cover */
#define EACH for (int k = 0; k < VECTORS; k++)

/* What a thread works with, on the heap: deep trees need much of it. `nodes` below is that of the tree's rule. */
typedef struct {
    int32_t features;
    const double *x;            /* (features, LANES) */
    double *phi;                /* (features, LANES) */
    double *pairs;              /* (features, features, LANES) of lower and higher feature, or NULL */
    const double *node, *rest;  /* t, and after those of all nodes of the rule as often 1; 1 - t of each node */
    const double *weights;      /* of each node */
    double *derived;            /* of a repeated split, at 2 * nodes * its index: t / a, then z / a^2 */
    double *scaled;             /* of a split, at 4 * its index: 1 / rl - 1, 1 / rr - 1, and leaves times the r down to
                                   them; above two leaves D where the row goes left, right, and S */
    double *ratios;             /* of an edge, at nodes * its number: (1 - z) / a; at 0: -1 / (1 - t) of a failed one */
    uint32_t *above;            /* for interactions: edges of the other features above a split, one for each feature */
    int64_t *above_from;        /* splits + 1: where the edges of a split begin */
    double *down, *up;          /* G and T by slot: (slots, nodes, LANES) */
    M *state;                   /* of an edge, the rows that satisfy it and earlier ones on its feature; at 0: all */
    const uint32_t *categories;
} Walk;

LANE void add_pairs(const Walk *w, const Split *splits, uint32_t split, int nodes, int from, int N, const V *g) {
    int32_t feature = splits[split].feature;
    for (int64_t at = w->above_from[split]; at < w->above_from[split + 1]; at++) {
        uint32_t edge = w->above[at];
        int32_t other = splits[(edge - 1) / 2].feature;
        size_t low = (size_t)(feature < other ? feature : other), high = (size_t)(feature < other ? other : feature);
        double *to = w->pairs + (low * (size_t)w->features + high) * LANES;
        const double *ratio = w->ratios + (size_t)edge * nodes + from, *failed = w->ratios + from;
        EACH {
            M satisfied = w->state[(size_t)edge * VECTORS + k];
            V sum = v_load(to + k * WIDTH);
            for (int q = 0; q < N; q++)
                sum = v_fma(g[q * VECTORS + k], v_select(satisfied, v_set(ratio[q]), v_set(failed[q])), sum);
            v_store(to + k * WIDTH, sum);
        }
    }
}

/* The rows that go left at a split. */
LANE void sides(const Walk *w, const Split *n, M *left) {
    const double *x = w->x + (size_t)n->feature * LANES;
    if (n->meta & CATEGORICAL) {
        const uint32_t *set = w->categories + n->categories;
        EACH {
            unsigned bits = 0;
            for (int i = 0; i < WIDTH; i++) {
                double value = x[k * WIDTH + i];
                int goes = value == value ? category_left(set, (float)value) : (n->meta & DEFAULT_LEFT) != 0;
                bits |= (unsigned)goes << i;
            }
            left[k] = m_bits(bits);
        }
        return;
    }
    V condition = v_set(n->condition);
    EACH left[k] = v_less(v_load(x + k * WIDTH), condition);
    if (n->meta & DEFAULT_LEFT) EACH left[k] = m_or(left[k], v_missing(v_load(x + k * WIDTH)));
}

/* a_l and a_r of a split that has a split below it. */
LANE void towards(const double *scaled, const M *left, const M *earlier, const int repeated, V *to_left, V *to_right) {
    EACH {
        to_left[k] = v_select(left[k], v_set(scaled[0]), v_set(-1));
        to_right[k] = v_select(left[k], v_set(-1), v_set(scaled[1]));
        if (repeated) {
            to_left[k] = v_keep(earlier[k], to_left[k]);
            to_right[k] = v_keep(earlier[k], to_right[k]);
        }
    }
}

/* One split on the way down: N nodes of the rule at a time, `blocks` times. */
LANE void descend(const Walk *w, const Split *n, size_t split, const int N, const int blocks, const uint32_t kind) {
    const int repeated = kind & REPEATED;
    const size_t nodes = (size_t)N * blocks, slot = n->meta >> SLOT_SHIFT, below = (slot / 2 + 1) * 2;
    M *edges = w->state + (1 + 2 * split) * VECTORS;
    const M *earlier = w->state + (size_t)n->earlier * VECTORS;
    M left[VECTORS], right[VECTORS];
    V to_left[VECTORS], to_right[VECTORS];
    sides(w, n, left);
    EACH {
        right[k] = m_andnot(left[k], earlier[k]);
        if (repeated) left[k] = m_and(left[k], earlier[k]);
        edges[k] = left[k];
        edges[VECTORS + k] = right[k];
    }
    towards(w->scaled + 4 * split, left, earlier, repeated, to_left, to_right);
    for (int b = 0; b < blocks; b++) {
        const double *t = (repeated ? w->derived + split * 2 * nodes : w->node) + b * N;
        const double *from = w->down + (slot * nodes + b * N) * LANES;
        double *lower = w->down + (below * nodes + b * N) * LANES;
        V G[N * VECTORS], part[N * VECTORS];
        for (int q = 0; q < N; q++) EACH {
            const int i = q * VECTORS + k;
            G[i] = v_load(from + i * WIDTH);
            part[i] = v_mul(G[i], v_set(t[q]));
        }
        if (!(kind & LEFT_LEAF))
            for (int q = 0; q < N; q++) EACH {
                const int i = q * VECTORS + k;
                v_store(lower + i * WIDTH, v_fma(part[i], to_left[k], G[i]));
            }
        lower += nodes * LANES;
        if (!(kind & RIGHT_LEAF))
            for (int q = 0; q < N; q++) EACH {
                const int i = q * VECTORS + k;
                v_store(lower + i * WIDTH, v_fma(part[i], to_right[k], G[i]));
            }
    }
}

/* The same split when all below it are done. */
LANE void ascend(const Walk *w, const Split *n, size_t split, const Split *splits, const int N, const int blocks,
                 const uint32_t kind) {
    const int repeated = kind & REPEATED;
    const size_t nodes = (size_t)N * blocks, slot = n->meta >> SLOT_SHIFT, below = (slot / 2 + 1) * 2;
    const M *left = w->state + (1 + 2 * split) * VECTORS, *earlier = w->state + (size_t)n->earlier * VECTORS;
    const double *scaled = w->scaled + 4 * split;
    V to_left[VECTORS], to_right[VECTORS], sum[VECTORS];
    towards(scaled, left, earlier, repeated, to_left, to_right);
    EACH sum[k] = v_set(0);
    for (int b = 0; b < blocks; b++) {
        const double *from = w->down + (slot * nodes + b * N) * LANES;
        const double *t = (repeated ? w->derived + split * 2 * nodes : w->node) + b * N;
        const double *tl = w->up + (below * nodes + b * N) * LANES, *tr = tl + nodes * LANES;
        double *to = w->up + (slot * nodes + b * N) * LANES;
        V both[N * VECTORS];
        for (int q = 0; q < N; q++) EACH {
            const int i = q * VECTORS + k;
            V L = kind & LEFT_LEAF ? v_set(scaled[2]) : v_load(tl + i * WIDTH);
            V R = kind & RIGHT_LEAF ? v_set(scaled[3]) : v_load(tr + i * WIDTH);
            V D = v_fma(to_left[k], L, v_mul(to_right[k], R));
            v_store(to + i * WIDTH, v_fma(v_set(t[q]), D, v_add(L, R)));
            V G = v_load(from + i * WIDTH);
            if (repeated) G = v_mul(G, v_set(t[nodes + q]));
            if (w->pairs) both[i] = v_mul(G, D);
            sum[k] = v_fma(G, D, sum[k]);
        }
        if (w->pairs) add_pairs(w, splits, (uint32_t)split, (int)nodes, b * N, N, both);
    }
    double *phi = w->phi + (size_t)n->feature * LANES;
    EACH v_store(phi + k * WIDTH, v_add(v_load(phi + k * WIDTH), sum[k]));
}

/* A split above two leaves: down and up at once, and D is the same at every node of the rule. */
LANE void turn(const Walk *w, const Split *n, size_t split, const Split *splits, const int N, const int blocks,
               const int repeated) {
    const size_t nodes = (size_t)N * blocks, slot = n->meta >> SLOT_SHIFT;
    const M *earlier = w->state + (size_t)n->earlier * VECTORS;
    const double *scaled = w->scaled + 4 * split;
    M left[VECTORS];
    V D[VECTORS], sum[VECTORS], S = v_set(scaled[2]);
    sides(w, n, left);
    EACH {
        D[k] = v_select(left[k], v_set(scaled[0]), v_set(scaled[1]));
        if (repeated) D[k] = v_keep(earlier[k], D[k]);
        sum[k] = v_set(0);
    }
    for (int b = 0; b < blocks; b++) {
        const double *from = w->down + (slot * nodes + b * N) * LANES;
        const double *t = (repeated ? w->derived + split * 2 * nodes : w->node) + b * N;
        double *to = w->up + (slot * nodes + b * N) * LANES;
        V both[N * VECTORS];
        for (int q = 0; q < N; q++) EACH {
            const int i = q * VECTORS + k;
            v_store(to + i * WIDTH, v_fma(v_set(t[q]), D[k], S));
            V G = v_load(from + i * WIDTH);
            sum[k] = repeated ? v_fma(G, v_set(t[nodes + q]), sum[k]) : v_add(G, sum[k]);
            if (w->pairs) both[i] = v_mul(repeated ? v_mul(G, v_set(t[nodes + q])) : G, D[k]);
        }
        if (w->pairs) add_pairs(w, splits, (uint32_t)split, (int)nodes, b * N, N, both);
    }
    double *phi = w->phi + (size_t)n->feature * LANES;
    EACH v_store(phi + k * WIDTH, v_fma(D[k], sum[k], v_load(phi + k * WIDTH)));
}

/* D of a split of two leaves below a UNIT, and its constants as `derived` has them: a first one's are t and 1. */
LANE const double *turn_below(const Walk *w, const Split *n, size_t split, size_t nodes, V *D) {
    const M *earlier = w->state + (size_t)n->earlier * VECTORS;
    const double *scaled = w->scaled + 4 * split;
    M left[VECTORS];
    sides(w, n, left);
    EACH D[k] = v_keep(earlier[k], v_select(left[k], v_set(scaled[0]), v_set(scaled[1])));
    return n->meta & REPEATED ? w->derived + split * 2 * nodes : w->node;
}

/* A split whose children are splits of two leaves, or one and a leaf: all three at once. What goes down to them and
   comes up again stays in registers: between `descend` and `ascend` stores take most of the time. */
LANE void unit(const Walk *w, const Split *n, size_t split, const Split *splits, const int N, const uint32_t kind) {
    const int repeated = kind & REPEATED;
    const size_t nodes = (size_t)N, slot = n->meta >> SLOT_SHIFT;
    const size_t l = (size_t)n->left.split, r = (size_t)n->right.split; /* where they are splits */
    M *edges = w->state + (1 + 2 * split) * VECTORS;
    const M *earlier = w->state + (size_t)n->earlier * VECTORS;
    const double *scaled = w->scaled + 4 * split, *tl = NULL, *tr = NULL;
    M left[VECTORS], right[VECTORS];
    V to_left[VECTORS], to_right[VECTORS], Dl[VECTORS], Dr[VECTORS], sum[VECTORS], sum_l[VECTORS], sum_r[VECTORS];
    sides(w, n, left);
    EACH {
        right[k] = m_andnot(left[k], earlier[k]);
        if (repeated) left[k] = m_and(left[k], earlier[k]);
        edges[k] = left[k];
        edges[VECTORS + k] = right[k];
        sum[k] = sum_l[k] = sum_r[k] = v_set(0);
    }
    towards(scaled, left, earlier, repeated, to_left, to_right);
    if (!(kind & LEFT_LEAF)) tl = turn_below(w, splits + l, l, nodes, Dl);
    if (!(kind & RIGHT_LEAF)) tr = turn_below(w, splits + r, r, nodes, Dr);
    const V Sl = v_set(kind & LEFT_LEAF ? scaled[2] : w->scaled[4 * l + 2]);
    const V Sr = v_set(kind & RIGHT_LEAF ? scaled[3] : w->scaled[4 * r + 2]);
    const double *from = w->down + slot * nodes * LANES;
    const double *t = repeated ? w->derived + split * 2 * nodes : w->node;
    double *to = w->up + slot * nodes * LANES;
    for (int q = 0; q < N; q++) EACH {
        const int i = (q * VECTORS + k) * WIDTH;
        V G = v_load(from + i), part = v_mul(G, v_set(t[q])), L = Sl, R = Sr;
        if (!(kind & LEFT_LEAF)) {
            L = v_fma(v_set(tl[q]), Dl[k], Sl);
            sum_l[k] = v_fma(v_fma(part, to_left[k], G), v_set(tl[nodes + q]), sum_l[k]);
        }
        if (!(kind & RIGHT_LEAF)) {
            R = v_fma(v_set(tr[q]), Dr[k], Sr);
            sum_r[k] = v_fma(v_fma(part, to_right[k], G), v_set(tr[nodes + q]), sum_r[k]);
        }
        V D = v_fma(to_left[k], L, v_mul(to_right[k], R));
        v_store(to + i, v_fma(v_set(t[q]), D, v_add(L, R)));
        if (repeated) G = v_mul(G, v_set(t[nodes + q]));
        sum[k] = v_fma(G, D, sum[k]);
    }
    if (!(kind & LEFT_LEAF)) {
        double *phi = w->phi + (size_t)splits[l].feature * LANES;
        EACH v_store(phi + k * WIDTH, v_fma(Dl[k], sum_l[k], v_load(phi + k * WIDTH)));
    }
    if (!(kind & RIGHT_LEAF)) {
        double *phi = w->phi + (size_t)splits[r].feature * LANES;
        EACH v_store(phi + k * WIDTH, v_fma(Dr[k], sum_r[k], v_load(phi + k * WIDTH)));
    }
    double *phi = w->phi + (size_t)n->feature * LANES;
    EACH v_store(phi + k * WIDTH, v_add(v_load(phi + k * WIDTH), sum[k]));
}

LANE void walk(const Walk *w, const Tree *tree, const int N, const int blocks) {
    const int units = blocks == 1 && N >= 2 && N <= 4 && !w->pairs; /* depth 3 to 8: for others it is too much code */
    for (int q = 0; q < N * blocks; q++)
        for (int i = 0; i < VECTORS; i++) v_store(w->down + q * LANES + i * WIDTH, v_set(w->weights[q]));
    for (int32_t s = 0; s < tree->steps; s++) {
        const size_t split = tree->order[s] >> 1;
        const Split *n = tree->splits + split;
        const int done = tree->order[s] & 1; /* all that is below */
        const uint32_t kind = n->meta & (LEFT_LEAF | RIGHT_LEAF | REPEATED);
        if (units && n->meta & UNIT) {
#define KIND(each) if (kind == (each)) unit(w, n, split, tree->splits, N, each);
            KIND(REPEATED) else KIND(0) else KIND(REPEATED | LEFT_LEAF) else KIND(REPEATED | RIGHT_LEAF)
            else KIND(LEFT_LEAF) else KIND(RIGHT_LEAF)
#undef KIND
            s += kind & (LEFT_LEAF | RIGHT_LEAF) ? 2 : 3; /* steps of the children, and its own second one */
            continue;
        }
        /* code of its own for each kind; branches, the frequent kinds first, are foretold better than a jump by table */
        if (kind == (LEFT_LEAF | RIGHT_LEAF)) turn(w, n, split, tree->splits, N, blocks, 0);
        else if (kind == (LEFT_LEAF | RIGHT_LEAF | REPEATED)) turn(w, n, split, tree->splits, N, blocks, 1);
#define KIND(each)                                                                                     \
        else if (kind == (each)) {                                                                     \
            if (done) ascend(w, n, split, tree->splits, N, blocks, each);                              \
            else descend(w, n, split, N, blocks, each);                                                \
        }
        KIND(REPEATED) KIND(0) KIND(REPEATED | LEFT_LEAF) KIND(REPEATED | RIGHT_LEAF) KIND(LEFT_LEAF) KIND(RIGHT_LEAF)
#undef KIND
    }
}

#define WALK(N)                                                                                        \
    static __attribute__((noinline)) void walk_##N(const Walk *w, const Tree *tree) {                  \
        Walk local = *w;                                                                               \
        local.pairs = NULL;                                                                            \
        walk(&local, tree, N, 1);                                                                      \
    }
WALK(1)
WALK(2)
WALK(3)
WALK(4)
WALK(5)
WALK(6)

/* Any number of nodes, a multiple of four; and whatever interactions need. */
static __attribute__((noinline)) void walk_blocks(const Walk *w, const Tree *tree, int blocks) {
    walk(w, tree, 4, blocks);
}

/* How many nodes a tree is walked with: those beyond its own have the weight 0. */
static int nodes_walked(const Tree *tree, int pairs) {
    return tree->nodes <= 6 && !pairs ? tree->nodes : (tree->nodes + 3) / 4 * 4;
}

static void walk_tree(const Walk *w, const Tree *tree) {
    if (w->pairs) {
        walk_blocks(w, tree, (tree->nodes + 3) / 4);
        return;
    }
    switch (tree->nodes) {
    case 1: walk_1(w, tree); break;
    case 2: walk_2(w, tree); break;
    case 3: walk_3(w, tree); break;
    case 4: walk_4(w, tree); break;
    case 5: walk_5(w, tree); break;
    case 6: walk_6(w, tree); break;
    default: walk_blocks(w, tree, (tree->nodes + 3) / 4);
    }
}

/* Constants of a tree that its compact form leaves out. */
static void derive(const Walk *w, const Tree *tree, const double *rule, int nodes, double *node, double *rest,
                   double *weights) {
    for (int q = 0; q < nodes; q++) {
        node[q] = q < tree->nodes ? rule[q] : 0.5;
        rest[q] = 1 - node[q];
        weights[q] = q < tree->nodes ? rule[tree->nodes + q] : 0;
        node[nodes + q] = 1;
    }
    w->scaled[3] = 1; /* of each split at first: the product of the r down to it; parents stand before children */
    for (int32_t i = 0; i < tree->count; i++) {
        const Split *n = tree->splits + i;
        double *scaled = w->scaled + 4 * (size_t)i, share = scaled[3];
        if (n->meta & REPEATED) {
            double *u = w->derived + (size_t)i * 2 * nodes;
            for (int q = 0; q < nodes; q++) {
                double inverse = 1 / (n->before * rest[q] + node[q]);
                u[q] = node[q] * inverse;
                u[nodes + q] = n->before * inverse * inverse;
            }
        }
        if ((n->meta & (LEFT_LEAF | RIGHT_LEAF)) == (LEFT_LEAF | RIGHT_LEAF)) {
            const double l = n->left.leaf, r = n->right.leaf, mean = n->left_ratio * l + n->right_ratio * r;
            scaled[0] = share * (l - mean);
            scaled[1] = share * (r - mean);
            scaled[2] = share * mean;
            continue;
        }
        /* only a leaf may have no cover at all; with next to none its values are the same */
        const double left = n->left_ratio > LEAST ? n->left_ratio : LEAST;
        const double right = n->right_ratio > LEAST ? n->right_ratio : LEAST;
        scaled[0] = 1 / left - 1;
        scaled[1] = 1 / right - 1;
        if (n->meta & LEFT_LEAF) scaled[2] = share * left * n->left.leaf;
        else w->scaled[4 * (size_t)n->left.split + 3] = share * left;
        if (n->meta & RIGHT_LEAF) scaled[3] = share * right * n->right.leaf;
        else w->scaled[4 * (size_t)n->right.split + 3] = share * right;
    }
}

/* For interactions: the ratios of every edge, and the edges above every split. Returns 1 where memory is missing. */
static int derive_pairs(Walk *w, const Tree *tree, int nodes, uint32_t *parent, int64_t *room) {
    for (int q = 0; q < nodes; q++) w->ratios[q] = -1 / w->rest[q];
    for (int32_t i = 0; i < tree->count; i++) {
        const Split *n = tree->splits + i;
        for (int side = 0; side < 2; side++) {
            double z = n->before * (side ? n->right_ratio : n->left_ratio);
            double *ratio = w->ratios + (size_t)(1 + 2 * i + side) * nodes;
            for (int q = 0; q < nodes; q++) ratio[q] = (1 - z) / (z * w->rest[q] + (1 - w->rest[q]));
            if (!(n->meta & (side ? RIGHT_LEAF : LEFT_LEAF)))
                parent[side ? n->right.split : n->left.split] = (uint32_t)(1 + 2 * i + side);
        }
    }
    parent[0] = 0;
    int64_t used = 0;
    for (int32_t i = 0; i < tree->count; i++) {
        w->above_from[i] = used;
        for (uint32_t edge = parent[i]; edge; edge = parent[(edge - 1) / 2]) {
            int32_t feature = tree->splits[(edge - 1) / 2].feature;
            int known = feature == tree->splits[i].feature;
            for (int64_t at = w->above_from[i]; at < used && !known; at++)
                known = tree->splits[(w->above[at] - 1) / 2].feature == feature;
            if (known) continue;
            if (used == *room) {
                uint32_t *more = realloc(w->above, (size_t)*room * 2 * sizeof *more);
                if (!more) return 1;
                w->above = more;
                *room *= 2;
            }
            w->above[used++] = edge;
        }
    }
    w->above_from[tree->count] = used;
    return 0;
}

enum { CACHE = 384 * 1024, MOST_BLOCKS = 32 }; /* bytes of rows and sums that a tree is taken over before the next */

static void *aligned(size_t bytes) {
    void *memory = NULL;
    return posix_memalign(&memory, 64, bytes ? bytes : 64) ? NULL : memory;
}

static int explain(const Forest *f, const float *rows, int64_t n, double *values, int pairs) {
    const size_t features = (size_t)f->features, outputs = (size_t)f->outputs, nodes = (size_t)(f->nodes + 3) / 4 * 4;
    const size_t splits = (size_t)f->splits, vector = features * LANES, column = features + 1;
    size_t blocks = pairs ? 1 : CACHE / (vector * 16 + 1);
    blocks = blocks < 1 ? 1 : blocks > MOST_BLOCKS ? MOST_BLOCKS : blocks;
    if (blocks > (size_t)(n + LANES - 1) / LANES) blocks = (size_t)(n + LANES - 1) / LANES;
    int64_t room = 1024;
    double *x = aligned(blocks * vector * 8), *phi = aligned(blocks * vector * 8);
    double *node = aligned(2 * nodes * 8), *rest = aligned(nodes * 8), *weights = aligned(nodes * 8);
    uint32_t *parent = pairs ? aligned((splits + 1) * 4) : NULL;
    Walk w = {.features = f->features, .node = node, .rest = rest, .weights = weights, .categories = f->categories};
    w.derived = aligned(splits * 2 * nodes * 8);
    w.scaled = aligned(splits * 4 * 8);
    w.down = aligned((size_t)(f->depth + 1) * 2 * nodes * LANES * 8);
    w.up = aligned((size_t)(f->depth + 1) * 2 * nodes * LANES * 8);
    w.state = aligned((1 + 2 * splits) * VECTORS * sizeof(M));
    if (pairs) {
        w.pairs = aligned(features * vector * 8);
        w.ratios = aligned((1 + 2 * splits) * nodes * 8);
        w.above = malloc((size_t)room * 4);
        w.above_from = aligned((splits + 1) * 8);
    }
    int failed = !x || !phi || !node || !rest || !weights || !w.derived || !w.scaled || !w.down || !w.up || !w.state;
    failed |= pairs && (!parent || !w.pairs || !w.ratios || !w.above || !w.above_from);
    if (!failed) EACH w.state[k] = m_bits((1u << WIDTH) - 1);
    for (int64_t from = 0; from < n && !failed; from += (int64_t)blocks * LANES) {
        size_t here = (size_t)(n - from) < blocks * LANES ? (size_t)(n - from) : blocks * LANES;
        size_t groups = (here + LANES - 1) / LANES;
        for (size_t i = 0; i < groups * LANES; i++) { /* the last row fills what is left of the last vector */
            const float *row = rows + (size_t)(from + (int64_t)(i < here ? i : here - 1)) * features;
            double *to = x + i / LANES * vector + i % LANES;
            for (size_t j = 0; j < features; j++) to[j * LANES] = row[j];
        }
        for (size_t o = 0; o < outputs && !failed; o++) {
            memset(phi, 0, groups * vector * 8);
            if (pairs) memset(w.pairs, 0, features * vector * 8);
            for (int64_t i = f->first[o]; i < f->first[o + 1] && !failed; i++) {
                const Tree *tree = f->trees + i;
                if (!tree->count) continue;
                int walked = nodes_walked(tree, pairs);
                derive(&w, tree, f->rule + (size_t)tree->nodes * (size_t)(tree->nodes - 1), walked, node, rest, weights);
                if (pairs) failed = derive_pairs(&w, tree, walked, parent, &room);
                for (size_t b = 0; b < groups && !failed; b++) {
                    w.x = x + b * vector;
                    w.phi = phi + b * vector;
                    walk_tree(&w, tree);
                }
            }
            for (size_t i = 0; i < here && !failed; i++) {
                const double *sums = phi + i / LANES * vector + i % LANES;
                size_t row = (size_t)from + i;
                if (!pairs) {
                    double *to = values + (row * outputs + o) * column;
                    for (size_t j = 0; j < features; j++) to[j] = sums[j * LANES];
                    to[features] = f->mean[o];
                    continue;
                }
                double *to = values + (row * outputs + o) * column * column;
                for (size_t j = 0; j < features; j++) to[j * column + j] = sums[j * LANES];
                for (size_t j = 0; j < features; j++) {
                    to[j * column + features] = to[features * column + j] = 0;
                    for (size_t h = j + 1; h < features; h++) {
                        double half = w.pairs[(j * features + h) * LANES + i % LANES] / 2;
                        to[j * column + h] = to[h * column + j] = half;
                        to[j * column + j] -= half;
                        to[h * column + h] -= half;
                    }
                }
                to[features * column + features] = f->mean[o];
            }
        }
    }
    free(x), free(phi), free(node), free(rest), free(weights), free(parent), free(w.derived), free(w.scaled), free(w.down), free(w.up);
    free(w.state), free(w.pairs), free(w.ratios), free(w.above), free(w.above_from);
    return failed;
}

static int contributions(const Forest *f, const float *rows, int64_t n, double *values) {
    return explain(f, rows, n, values, 0);
}

static int interactions(const Forest *f, const float *rows, int64_t n, double *values) {
    return explain(f, rows, n, values, 1);
}

#include "one_row.h"

const Kernel KERNEL = {LANES, contributions, contributions_of_row, interactions};
