/* SHAP values of a single row, by the method of contributions.h, which includes this file.

   The lanes are nodes of the rule. Every split is done by the same instructions, first or repeated, above leaves or
   not: in a forest that is walked once, a branch would be foretold wrongly at most of them. Meanwhile the splits of the
   next tree are fetched: between two requests others have used the caches, and a split takes 6 ns, memory 100. */
typedef struct {
    const double *x;        /* (features, 2): with what goes right, and left, where the value is missing */
    const float *row;
    double *phi;            /* (features, WIDTH) */
    const double *node, *rest, *weights;
    double *down, *up, *inverse; /* H, T and 1 / a by split: (splits + 1, nodes); the last of H is for leaves, of T 0 */
    M *state;
    const uint32_t *categories;
    const Split *next; /* of the tree after this one */
} Row;

LANE M row_side(const Row *w, const Split *n) {
    if (__builtin_expect(n->meta & CATEGORICAL, 0)) {
        float value = w->row[n->feature];
        int left = value == value ? category_left(w->categories + n->categories, value) : (n->meta & DEFAULT_LEFT) != 0;
        return m_bits(left ? (1u << WIDTH) - 1 : 0);
    }
    return v_less(v_set(w->x[2 * (size_t)n->feature + (n->meta / DEFAULT_LEFT & 1)]), v_set(n->condition));
}

LANE size_t child_split(Child child, uint32_t leaf, size_t none) {
    size_t mask = 0 - (size_t)(leaf != 0);
    return ((size_t)(uint32_t)child.split & ~mask) | (none & mask);
}

LANE double child_leaf(Child child, uint32_t leaf) { /* 0 where there is a split */
    child.split &= -(int32_t)(leaf != 0);
    return child.leaf;
}

LANE void row_turns(const Row *w, const Tree *tree, int32_t from, int32_t to, const int N, const int repeated) {
    for (int32_t i = from; i < to; i++) {
        __builtin_prefetch(w->next + i);
        const Split *n = tree->splits + i;
        const double l = n->left.leaf, r = n->right.leaf;
        V taken = v_select(row_side(w, n), v_set(l), v_set(r));
        V gain = v_sub(taken, v_set(n->left_ratio * l + n->right_ratio * r)), sum = v_set(0);
        M earlier = w->state[n->earlier];
        for (int v = 0; v < N; v++) {
            V H = v_load(w->down + ((size_t)i * N + v) * WIDTH), factor = v_load(w->rest + v * WIDTH);
            if (repeated) {
                V z = v_set(n->before), inverse = v_div(v_set(1), v_fma(z, factor, v_load(w->node + v * WIDTH)));
                factor = v_select(earlier, v_mul(v_mul(z, factor), inverse), v_set(1));
                H = v_keep(earlier, v_mul(v_mul(H, z), v_mul(inverse, inverse)));
            }
            v_store(w->up + ((size_t)i * N + v) * WIDTH, v_fnma(factor, gain, taken));
            sum = v_add(sum, H);
        }
        double *phi = w->phi + (size_t)n->feature * WIDTH;
        v_store(phi, v_fma(gain, sum, v_load(phi)));
    }
}

LANE void row_walk(const Row *w, const Tree *tree, const int N) {
    const size_t none = (size_t)tree->count;
    for (int v = 0; v < N; v++) {
        v_store(w->down + v * WIDTH, v_load(w->weights + v * WIDTH));
        v_store(w->up + (none * N + v) * WIDTH, v_set(0));
    }
    for (int32_t i = 0; i < tree->inner; i++) {
        __builtin_prefetch(w->next + i);
        const Split *n = tree->splits + i;
        M side = row_side(w, n), earlier = w->state[n->earlier];
        M left = m_and(side, earlier), right = m_andnot(side, earlier);
        w->state[1 + 2 * (size_t)i] = left;
        w->state[2 + 2 * (size_t)i] = right;
        double *to_left = w->down + child_split(n->left, n->meta & LEFT_LEAF, none) * N * WIDTH;
        double *to_right = w->down + child_split(n->right, n->meta & RIGHT_LEAF, none) * N * WIDTH;
        V z = v_set(n->before), lr = v_set(n->left_ratio), rr = v_set(n->right_ratio);
        for (int v = 0; v < N; v++) {
            V H = v_load(w->down + ((size_t)i * N + v) * WIDTH), rest = v_load(w->rest + v * WIDTH);
            V inverse = v_div(v_set(1), v_fma(z, rest, v_load(w->node + v * WIDTH)));
            v_store(w->inverse + ((size_t)i * N + v) * WIDTH, inverse);
            V U = v_mul(H, v_select(earlier, v_mul(v_mul(z, rest), inverse), v_set(1))), W = v_sub(H, U);
            v_store(to_left + v * WIDTH, v_add_where(v_mul(lr, U), left, W));
            v_store(to_right + v * WIDTH, v_add_where(v_mul(rr, U), right, W));
        }
    }
    row_turns(w, tree, tree->inner, tree->plain, N, 0);
    row_turns(w, tree, tree->plain, tree->count, N, 1);
    for (int32_t i = tree->inner - 1; i >= 0; i--) {
        const Split *n = tree->splits + i;
        M left = w->state[1 + 2 * (size_t)i], earlier = w->state[n->earlier];
        const double *tl = w->up + child_split(n->left, n->meta & LEFT_LEAF, none) * N * WIDTH;
        const double *tr = w->up + child_split(n->right, n->meta & RIGHT_LEAF, none) * N * WIDTH;
        V ll = v_set(child_leaf(n->left, n->meta & LEFT_LEAF)), rl = v_set(child_leaf(n->right, n->meta & RIGHT_LEAF));
        V z = v_set(n->before), lr = v_set(n->left_ratio), rr = v_set(n->right_ratio);
        double *phi = w->phi + (size_t)n->feature * WIDTH;
        V sum = v_set(0);
        for (int v = 0; v < N; v++) {
            V L = v_add(v_load(tl + v * WIDTH), ll), R = v_add(v_load(tr + v * WIDTH), rl);
            V taken = v_select(left, L, R), gain = v_sub(taken, v_fma(lr, L, v_mul(rr, R)));
            V rest = v_load(w->rest + v * WIDTH), inverse = v_load(w->inverse + ((size_t)i * N + v) * WIDTH);
            V share = v_mul(z, inverse), factor = v_select(earlier, v_mul(share, rest), v_set(1));
            v_store(w->up + ((size_t)i * N + v) * WIDTH, v_fnma(factor, gain, taken));
            sum = v_fma(v_mul(v_load(w->down + ((size_t)i * N + v) * WIDTH), v_mul(share, inverse)), gain, sum);
        }
        v_store(phi, v_add(v_load(phi), v_keep(earlier, sum)));
    }
}

static __attribute__((noinline)) void row_walk_1(const Row *w, const Tree *tree) { row_walk(w, tree, 1); }
static __attribute__((noinline)) void row_walk_2(const Row *w, const Tree *tree) { row_walk(w, tree, 2); }
static __attribute__((noinline)) void row_walk_any(const Row *w, const Tree *tree, int N) { row_walk(w, tree, N); }

static int contributions_of_row(const Forest *f, const float *row, double *values) {
    const size_t features = (size_t)f->features, splits = (size_t)f->splits;
    const size_t most = (size_t)(f->nodes + WIDTH - 1) / WIDTH * WIDTH, lanes = (splits + 1) * most;
    /* one allocation: x, phi, three of the rule, three of the splits */
    double *memory = aligned((features * (2 + WIDTH) + 3 * most + 3 * lanes) * 8);
    M *state = aligned((1 + 2 * splits) * sizeof(M));
    if (!memory || !state) {
        free(memory), free(state);
        return 1;
    }
    double *phi = memory, *x = phi + features * WIDTH, *node, *rest, *weights;
    double *down = phi + features * (2 + WIDTH);
    node = down + 3 * lanes, rest = node + most, weights = rest + most;
    Row w = {x, row, phi, node, rest, weights, down, down + lanes, down + 2 * lanes, state, f->categories, NULL};
    for (size_t j = 0; j < features; j++) {
        x[2 * j] = row[j] == row[j] ? row[j] : __builtin_inf();
        x[2 * j + 1] = row[j] == row[j] ? row[j] : -__builtin_inf();
    }
    state[0] = m_bits((1u << WIDTH) - 1);
    int nodes = 0; /* those that the rule at hand is for */
    for (int32_t o = 0; o < f->outputs; o++) {
        memset(phi, 0, features * WIDTH * 8);
        for (int64_t i = f->first[o]; i < f->first[o + 1]; i++) {
            const Tree *tree = f->trees + i;
            if (!tree->count) continue;
            w.next = i + 1 < f->count && tree[1].count ? tree[1].splits : tree->splits;
            int vectors = (tree->nodes + WIDTH - 1) / WIDTH;
            if (tree->nodes != nodes) {
                const double *rule = f->rule + (size_t)tree->nodes * (size_t)(tree->nodes - 1);
                nodes = tree->nodes;
                for (int q = 0; q < vectors * WIDTH; q++) {
                    node[q] = q < nodes ? rule[q] : 0.5;
                    rest[q] = 1 - node[q];
                    weights[q] = q < nodes ? rule[nodes + q] : 0;
                }
            }
            if (vectors == 1) row_walk_1(&w, tree);
            else if (vectors == 2) row_walk_2(&w, tree);
            else row_walk_any(&w, tree, vectors);
        }
        double *to = values + (size_t)o * (features + 1);
        for (size_t j = 0; j < features; j++) to[j] = v_sum(v_load(phi + j * WIDTH));
        to[features] = f->mean[o];
    }
    free(memory), free(state);
    return 0;
}

