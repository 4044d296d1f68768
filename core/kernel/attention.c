/* Attention on a forest, in tiles: memory grows with tokens, not with their square.
 *
 * Nodes are numbered depth first, so while a thread walks the branches of a tree in order, path[p] (the node at depth
 * p on the way to the present branch) is right for every depth that branch needs: deeper places were overwritten by
 * its elder siblings, higher ones were not. A branch then is the tail of an ordinary causal sequence path[0..end). */
#include "kernel/fast.h"

#include <cblas.h>

#ifdef PFI_DOUBLE
#define attention_blas cblas_dgemm
#else
#define attention_blas cblas_sgemm
#endif

enum { ATT_ROWS = 128, ATT_KEYS = 64 }; /* query rows (heads of a group included) and keys of a tile */

typedef PFK(attention) attention_shape;

/* One thread's working memory. */
typedef struct attention_work {
    pf_real *q, *o, *go, *dq; /* [ATT_ROWS, D] packed rows: queries, output, its gradient, the queries' gradient */
    pf_real *k, *v, *dk, *dv; /* [ATT_KEYS, D] packed keys and values */
    pf_real *s, *ds;          /* [ATT_ROWS, ATT_KEYS] scores */
    pf_real *max, *sum;       /* [ATT_ROWS] */
    int32_t *path;            /* [longest] */
} attention_work;

static int64_t attention_rows(const attention_shape *a) {
    int64_t group = a->H / a->G;
    return group > ATT_ROWS ? group : ATT_ROWS / group * group;
}

static size_t attention_bytes(const attention_shape *a) {
    size_t rows = (size_t)attention_rows(a), D = (size_t)a->D;
    size_t reals = 4 * rows * D + 4 * (size_t)ATT_KEYS * D + 2 * rows * ATT_KEYS + 2 * rows;
    size_t bytes = reals * sizeof(pf_real) + (size_t)a->longest * sizeof(int32_t);
    return (bytes + 127) / 64 * 64;
}

size_t PFK(attention_scratch)(const attention_shape *a) { return (size_t)a->threads * attention_bytes(a); }

static attention_work attention_work_of(const attention_shape *a, void *scratch, int thread) {
    size_t rows = (size_t)attention_rows(a), D = (size_t)a->D;
    pf_real *p = (pf_real *)((char *)scratch + (size_t)thread * attention_bytes(a));
    attention_work w = {0};
    pf_real **row[] = {&w.q, &w.o, &w.go, &w.dq}, **key[] = {&w.k, &w.v, &w.dk, &w.dv};
    for (int i = 0; i < 4; i++, p += rows * D) *row[i] = p;
    for (int i = 0; i < 4; i++, p += ATT_KEYS * D) *key[i] = p;
    w.s = p;
    w.ds = w.s + rows * ATT_KEYS;
    w.max = w.ds + rows * ATT_KEYS;
    w.sum = w.max + rows;
    w.path = (int32_t *)(w.sum + rows);
    return w;
}

/* rows of x[T,heads,D], heads h..h+group-1 of the nodes node..node+n-1, to to[n*group,D], times scale; and back */
static void attention_pack(pf_real *to, const pf_real *x, int64_t node, int64_t n, int64_t heads, int64_t h,
                           int64_t group, int64_t D, pf_real scale) {
    for (int64_t i = 0; i < n; i++) {
        const pf_real *from = x + ((node + i) * heads + h) * D;
        for (int64_t j = 0; j < group * D; j++) to[i * group * D + j] = from[j] * scale;
    }
}

static void attention_unpack_add(pf_real *x, const pf_real *from, int64_t node, int64_t n, int64_t heads, int64_t h,
                                 int64_t group, int64_t D, pf_real scale) {
    for (int64_t i = 0; i < n; i++) {
        pf_real *to = x + ((node + i) * heads + h) * D;
        for (int64_t j = 0; j < group * D; j++) to[j] += from[i * group * D + j] * scale;
    }
}

static void attention_gather(pf_real *to, const pf_real *x, const int32_t *path, int64_t n, int64_t G, int64_t g,
                             int64_t D) {
    for (int64_t i = 0; i < n; i++) memcpy(to + i * D, x + (path[i] * G + g) * D, (size_t)D * sizeof *to);
}

static void attention_scatter_add(pf_real *x, const pf_real *from, const int32_t *path, int64_t n, int64_t G, int64_t g,
                                  int64_t D) {
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < D; j++) x[(path[i] * G + g) * D + j] += from[i * D + j];
}

/* C[M,N] = A[M,K] B + beta C; tb: B[N,K], else B[K,N]; ta: A[K,M]. Packed except for C's rows. */
static void attention_product(bool ta, bool tb, int64_t M, int64_t N, int64_t K, const pf_real *A, int64_t lda,
                              const pf_real *B, int64_t ldb, pf_real beta, pf_real *C, int64_t ldc) {
    attention_blas(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans, (int)M, (int)N,
                   (int)K, 1, A, (int)lda, B, (int)ldb, beta, C, (int)ldc);
}

/* A tile: queries at depths [p, p + n) (rows n * group), keys at depths [kp, kp + kn). */
typedef struct attention_tile {
    int64_t p, n, kp, kn, group;
} attention_tile;

/* the keys that row r of the tile may see: [*lo, *hi) */
static void attention_seen(const attention_shape *a, const attention_tile *t, int64_t r, int64_t *lo, int64_t *hi) {
    int64_t at = t->p + r / t->group;
    *hi = at + 1 - t->kp < t->kn ? at + 1 - t->kp : t->kn;
    if (*hi < 0) *hi = 0;
    *lo = a->window > 0 && at - a->window + 1 > t->kp ? at - a->window + 1 - t->kp : 0;
    if (*lo > *hi) *lo = *hi;
}

/* scores to cap tanh(score / cap) */
static void attention_cap(pf_real *s, pf_real cap, int64_t lo, int64_t hi) {
    for (int64_t j = lo; j < hi; j++) s[j] = cap * pfr_tanh(s[j] / cap);
}

/* ds to (ds - delta) times the slope of the cap at capped scores s */
static void attention_cap_back(pf_real *ds, const pf_real *s, pf_real delta, pf_real cap, int64_t lo, int64_t hi) {
    for (int64_t j = lo; j < hi; j++) ds[j] = (ds[j] - delta) * (1 - s[j] / cap * (s[j] / cap));
}

static PFK_CLONES pf_real attention_exp_row(pf_real *s, pf_real shift, int64_t lo, int64_t hi, int64_t n) {
    pf_real sum = 0;
    for (int64_t j = 0; j < lo; j++) s[j] = 0;
    for (int64_t j = lo; j < hi; j++) s[j] = pfk_exp(s[j] - shift);
    for (int64_t j = hi; j < n; j++) s[j] = 0;
    for (int64_t j = lo; j < hi; j++) sum += s[j];
    return sum;
}

/* fold one tile of scores into the running softmax: rescale what is there, then exponentiate */
static void attention_online(const attention_shape *a, const attention_work *w, const attention_tile *t) {
    for (int64_t r = 0; r < t->n * t->group; r++) {
        pf_real *s = w->s + r * ATT_KEYS, m = w->max[r];
        int64_t lo, hi;
        attention_seen(a, t, r, &lo, &hi);
        if (a->cap > 0) attention_cap(s, a->cap, lo, hi);
        for (int64_t j = lo; j < hi; j++) m = s[j] > m ? s[j] : m;
        pf_real keep = w->max[r] == m ? 1 : w->max[r] == -PFR_MAX ? 0 : pfr_exp(w->max[r] - m);
        w->sum[r] = w->sum[r] * keep + attention_exp_row(s, m, lo, hi, t->kn);
        if (keep != 1)
            for (int64_t d = 0; d < a->D; d++) w->o[r * a->D + d] *= keep;
        w->max[r] = m;
    }
}

static int64_t attention_first_key(const attention_shape *a, int64_t p) {
    return a->window > 0 && p - a->window + 1 > 0 ? (p - a->window + 1) / ATT_KEYS * ATT_KEYS : 0;
}

/* queries at depths [p, p + n) of the branch whose first node is `node` at depth p */
static void attention_forward_rows(pf_real *o, pf_real *lse, const pf_real *q, const pf_real *k, const pf_real *v,
                                   const attention_shape *a, const attention_work *w, int64_t g, int64_t node,
                                   int64_t p, int64_t n) {
    int64_t D = a->D, group = a->H / a->G, rows = n * group;
    attention_pack(w->q, q, node, n, a->H, g * group, group, D, a->scale);
    memset(w->o, 0, (size_t)(rows * D) * sizeof *w->o);
    for (int64_t r = 0; r < rows; r++) {
        w->max[r] = -PFR_MAX;
        w->sum[r] = 0;
    }
    for (int64_t kp = attention_first_key(a, p); kp < p + n; kp += ATT_KEYS) {
        attention_tile t = {p, n, kp, p + n - kp < ATT_KEYS ? p + n - kp : ATT_KEYS, group};
        attention_gather(w->k, k, w->path + kp, t.kn, a->G, g, D);
        attention_gather(w->v, v, w->path + kp, t.kn, a->G, g, D);
        attention_product(false, true, rows, t.kn, D, w->q, D, w->k, D, 0, w->s, ATT_KEYS);
        attention_online(a, w, &t);
        attention_product(false, false, rows, D, t.kn, w->s, ATT_KEYS, w->v, D, 1, w->o, D);
    }
    for (int64_t r = 0; r < rows; r++) {
        int64_t at = node + r / group, h = g * group + r % group;
        pf_real scale = 1 / w->sum[r];
        for (int64_t d = 0; d < D; d++) o[(at * a->H + h) * D + d] = w->o[r * D + d] * scale;
        lse[h * a->T + at] = w->max[r] + pfr_log(w->sum[r]);
    }
}

/* w->s to probabilities, w->ds from d(probability) to d(score) */
static PFK_CLONES void attention_score_gradient(pf_real *s, pf_real *ds, pf_real lse, pf_real delta, int64_t lo,
                                                int64_t hi, int64_t n) {
    for (int64_t j = 0; j < lo; j++) s[j] = ds[j] = 0;
    for (int64_t j = lo; j < hi; j++) {
        s[j] = pfk_exp(s[j] - lse);
        ds[j] = s[j] * (ds[j] - delta);
    }
    for (int64_t j = hi; j < n; j++) s[j] = ds[j] = 0;
}

typedef struct attention_grads {
    pf_real *dq, *dk, *dv;
    const pf_real *go, *o, *lse, *q, *k, *v;
} attention_grads;

static void attention_backward_rows(const attention_grads *b, const attention_shape *a, const attention_work *w,
                                    int64_t g, int64_t node, int64_t p, int64_t n) {
    int64_t D = a->D, group = a->H / a->G, rows = n * group, h = g * group;
    attention_pack(w->q, b->q, node, n, a->H, h, group, D, a->scale);
    attention_pack(w->go, b->go, node, n, a->H, h, group, D, 1);
    attention_pack(w->o, b->o, node, n, a->H, h, group, D, 1);
    for (int64_t r = 0; r < rows; r++) {
        double delta = 0;
        for (int64_t d = 0; d < D; d++) delta += (double)w->go[r * D + d] * (double)w->o[r * D + d];
        w->sum[r] = (pf_real)delta;
    }
    memset(w->dq, 0, (size_t)(rows * D) * sizeof *w->dq);
    for (int64_t kp = attention_first_key(a, p); kp < p + n; kp += ATT_KEYS) {
        attention_tile t = {p, n, kp, p + n - kp < ATT_KEYS ? p + n - kp : ATT_KEYS, group};
        attention_gather(w->k, b->k, w->path + kp, t.kn, a->G, g, D);
        attention_gather(w->v, b->v, w->path + kp, t.kn, a->G, g, D);
        attention_product(false, true, rows, t.kn, D, w->q, D, w->k, D, 0, w->s, ATT_KEYS);
        attention_product(false, true, rows, t.kn, D, w->go, D, w->v, D, 0, w->ds, ATT_KEYS);
        for (int64_t r = 0; r < rows; r++) {
            int64_t lo, hi;
            attention_seen(a, &t, r, &lo, &hi);
            pf_real lse = b->lse[(h + r % group) * a->T + node + r / group], delta = w->sum[r];
            pf_real *s = w->s + r * ATT_KEYS, *ds = w->ds + r * ATT_KEYS;
            if (a->cap > 0) {
                attention_cap(s, a->cap, lo, hi);
                attention_cap_back(ds, s, delta, a->cap, lo, hi);
                delta = 0;
            }
            attention_score_gradient(s, ds, lse, delta, lo, hi, t.kn);
        }
        if (b->dq) attention_product(false, false, rows, D, t.kn, w->ds, ATT_KEYS, w->k, D, 1, w->dq, D);
        if (b->dk) attention_product(true, false, t.kn, D, rows, w->ds, ATT_KEYS, w->q, D, 0, w->dk, D);
        if (b->dv) attention_product(true, false, t.kn, D, rows, w->s, ATT_KEYS, w->go, D, 0, w->dv, D);
        if (b->dk) attention_scatter_add(b->dk, w->dk, w->path + kp, t.kn, a->G, g, D);
        if (b->dv) attention_scatter_add(b->dv, w->dv, w->path + kp, t.kn, a->G, g, D);
    }
    if (b->dq) attention_unpack_add(b->dq, w->dq, node, n, a->H, h, group, D, a->scale);
}

/* Depth of the first node of every branch follows from its parent's; a tree begins where there is no parent. The
 * present depth is kept in path order: depth of a branch = depth of its parent + the parent's length. */
static int64_t attention_depth(const attention_shape *a, int64_t b) {
    int64_t depth = 0;
    for (int64_t up = a->parent[b]; up >= 0; up = a->parent[up]) depth += a->start[up + 1] - a->start[up];
    return depth;
}

/* all branches of the tree that begins at branch `first`, for one key head; backward if grads is given */
static void attention_tree(pf_real *o, pf_real *lse, const pf_real *q, const pf_real *k, const pf_real *v,
                           const attention_grads *grads, const attention_shape *a, const attention_work *w, int64_t g,
                           int64_t first) {
    int64_t step = attention_rows(a) / (a->H / a->G);
    for (int64_t b = first; b < a->branches && (b == first || a->parent[b] >= 0); b++) {
        int64_t depth = attention_depth(a, b), n = a->start[b + 1] - a->start[b];
        for (int64_t i = 0; i < n; i++) w->path[depth + i] = (int32_t)(a->start[b] + i);
        for (int64_t i = 0; i < n; i += step) {
            int64_t m = n - i < step ? n - i : step;
            if (grads)
                attention_backward_rows(grads, a, w, g, a->start[b] + i, depth + i, m);
            else
                attention_forward_rows(o, lse, q, k, v, a, w, g, a->start[b] + i, depth + i, m);
        }
    }
}

static void attention_run(pf_real *o, pf_real *lse, const pf_real *q, const pf_real *k, const pf_real *v,
                          const attention_grads *grads, const attention_shape *a, void *scratch) {
    int threads = a->threads;
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (a->T * a->H * a->D > PFK_WORTH_THREADS / 8)
    for (int64_t task = 0; task < a->branches * a->G; task++) {
        int64_t b = task / a->G;
        if (a->parent[b] >= 0) continue;
        attention_work w = attention_work_of(a, scratch, pfk_thread());
        attention_tree(o, lse, q, k, v, grads, a, &w, task % a->G, b);
    }
}

void PFK(attention_forward)(pf_real *o, pf_real *lse, const pf_real *q, const pf_real *k, const pf_real *v,
                            const attention_shape *a, void *scratch) {
    attention_run(o, lse, q, k, v, NULL, a, scratch);
}

void PFK(attention_backward)(pf_real *dq, pf_real *dk, pf_real *dv, const pf_real *go, const pf_real *o,
                             const pf_real *lse, const pf_real *q, const pf_real *k, const pf_real *v,
                             const attention_shape *a, void *scratch) {
    attention_grads grads = {dq, dk, dv, go, o, lse, q, k, v};
    attention_run(NULL, NULL, q, k, v, &grads, a, scratch);
}

double PFK(attention_pairs)(const attention_shape *a) {
    double pairs = 0;
    for (int64_t b = 0; b < a->branches; b++) {
        const int64_t depth = attention_depth(a, b), n = a->start[b + 1] - a->start[b];
        for (int64_t i = 1; i <= n; i++)
            pairs += (double)(a->window > 0 && a->window < depth + i ? a->window : depth + i);
    }
    return pairs;
}
