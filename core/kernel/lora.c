/* What a low-rank adapter adds to a product, and its gradients. */
#include "kernel/real.h"

/* Rows are done in blocks, while what one product leaves is in the cache for the next; of a wide adapter all at once,
 * as BLAS packs a and b for every block. Neighbouring blocks make a group, which sums what it adds to the gradients of
 * a and b for itself; the sums of groups are added in their order. All this depends on the shapes alone, so that
 * results do not depend on the threads. */
enum { LORA_ROWS = 64, LORA_THIN = 15, LORA_GROUPS = 16, LORA_COLUMNS = 2048 };

static int64_t lora_high(const PFK(lora) * l) { return l->r <= LORA_THIN || l->rows == 0 ? LORA_ROWS : l->rows; }

static int64_t lora_blocks(const PFK(lora) * l) { return (l->rows + lora_high(l) - 1) / lora_high(l); }

static int64_t lora_groups(const PFK(lora) * l) { return pfk_least(lora_blocks(l), LORA_GROUPS); }

/* values of a group's scratch: du [rows of a block, r]; da [r, in], db [out, r], which the only group does not need */
static int64_t lora_part(const PFK(lora) * l) {
    return l->r * (lora_high(l) + (lora_groups(l) == 1 ? 0 : l->in + l->out));
}

/* do threads share out blocks? Otherwise they share the products of one. */
static bool lora_shared(const PFK(lora) * l) {
    return lora_blocks(l) > 1 && l->rows * (l->in + l->out) > PFK_WORTH_THREADS;
}

static int lora_threads(const PFK(lora) * l) { return lora_shared(l) ? 1 : l->threads; }

static void lora_scale(pf_real *u, int64_t n, pf_real scale) {
    for (int64_t i = 0; i < n; i++) u[i] *= scale;
}

/* ---- forward ---- */

/* block i of u and y */
static void lora_block(const PFK(lora) * l, int64_t i, pf_real *y, pf_real *u, const pf_real *y0) {
    const int threads = lora_threads(l);
    const int64_t r = l->r, in = l->in, out = l->out, t = i * lora_high(l), n = pfk_least(l->rows - t, lora_high(l));
    PFK(gemm)(threads, false, true, n, r, in, l->x + t * in, in, l->a, in, 0, u + t * r, r);
    lora_scale(u + t * r, n * r, l->scale);
    PFK(copy)(threads, y + t * out, y0 + t * out, n * out);
    PFK(gemm)(threads, false, true, n, out, r, u + t * r, r, l->b, r, 1, y + t * out, out);
}

void PFK(lora_forward)(const PFK(lora) * l, pf_real *y, pf_real *u, const pf_real *y0) {
    const int64_t blocks = lora_blocks(l);
    if (!lora_shared(l)) { /* one region within another would start threads of its own */
        for (int64_t i = 0; i < blocks; i++) lora_block(l, i, y, u, y0);
        return;
    }
#pragma omp parallel for num_threads(l->threads) schedule(dynamic, 1)
    for (int64_t i = 0; i < blocks; i++) lora_block(l, i, y, u, y0);
}

/* ---- backward ---- */

size_t PFK(lora_scratch)(const PFK(lora) * l) { return (size_t)(lora_groups(l) * lora_part(l)) * sizeof(pf_real); }

/* where rows add up gradients of a and b, and betas: 0 where they are the first */
typedef struct lora_sums {
    pf_real *da, *db, beta_a, beta_b;
} lora_sums;

/* gradients of n rows of y0 and x, where these point to theirs, and what the rows add to those of a and b */
static void lora_rows_back(const PFK(lora) * l, int64_t n, const pf_real *x, const pf_real *u, const pf_real *dy,
                           pf_real *const dx[4], const bool fresh[4], pf_real *du, const lora_sums *to) {
    const int threads = lora_threads(l);
    const int64_t r = l->r, in = l->in, out = l->out;
    if (dx[0]) (fresh[0] ? PFK(copy) : PFK(accumulate))(threads, dx[0], dy, n * out);
    if (dx[3]) PFK(gemm)(threads, true, false, out, r, n, dy, out, u, r, to->beta_b, to->db, r);
    if (!dx[1] && !dx[2]) return;
    PFK(gemm)(threads, false, false, n, r, out, dy, out, l->b, r, 0, du, r);
    lora_scale(du, n * r, l->scale);
    if (dx[1]) PFK(gemm)(threads, false, false, n, in, r, du, r, l->a, in, fresh[1] ? 0 : 1, dx[1], in);
    if (dx[2]) PFK(gemm)(threads, true, false, r, in, n, du, r, x, in, to->beta_a, to->da, in);
}

static void lora_group_back(const PFK(lora) * l, int64_t g, const pf_real *u, const pf_real *dy, pf_real *const dx[4],
                            const bool fresh[4], pf_real *part) {
    const int64_t groups = lora_groups(l), high = lora_high(l);
    const int64_t first = g * lora_blocks(l) / groups, end = (g + 1) * lora_blocks(l) / groups;
    lora_sums to = groups == 1 ? (lora_sums){dx[2], dx[3], fresh[2] ? 0 : 1, fresh[3] ? 0 : 1}
                               : (lora_sums){part + high * l->r, part + (high + l->in) * l->r, 0, 0};
    for (int64_t i = first; i < end; i++) {
        const int64_t t = i * high, n = pfk_least(l->rows - t, high);
        pf_real *const at[4] = {dx[0] ? dx[0] + t * l->out : NULL, dx[1] ? dx[1] + t * l->in : NULL, dx[2], dx[3]};
        lora_rows_back(l, n, l->x + t * l->in, u + t * l->r, dy + t * l->out, at, fresh, part, &to);
        to.beta_a = to.beta_b = 1;
    }
}

/* dx[n] from the groups' sums, the first of which is at part; for the threads of a parallel region */
static void lora_add(const PFK(lora) * l, const pf_real *part, int64_t n, bool fresh, pf_real *dx) {
#pragma omp for schedule(static) nowait
    for (int64_t j = 0; j < n; j += LORA_COLUMNS) {
        const int64_t k = pfk_least(n - j, LORA_COLUMNS);
        pf_real sum[LORA_COLUMNS] = {0};
        for (int64_t g = 0; g < lora_groups(l); g++)
            for (int64_t i = 0; i < k; i++) sum[i] += part[g * lora_part(l) + j + i];
        for (int64_t i = 0; i < k; i++) dx[j + i] = fresh ? sum[i] : dx[j + i] + sum[i];
    }
}

void PFK(lora_backward)(const PFK(lora) * l, pf_real *const dx[4], const bool fresh[4], const pf_real *dy,
                        const pf_real *u, void *scratch) {
    const int64_t groups = lora_groups(l);
    pf_real *part = scratch;
    if (groups == 1) { /* as in forward */
        lora_group_back(l, 0, u, dy, dx, fresh, part);
        return;
    }
    const pf_real *da = part + lora_high(l) * l->r, *db = da + l->r * l->in;
#pragma omp parallel num_threads(l->threads) if (lora_shared(l))
    {
#pragma omp for schedule(dynamic, 1)
        for (int64_t g = 0; g < groups; g++) lora_group_back(l, g, u, dy, dx, fresh, part + g * lora_part(l));
        if (dx[2]) lora_add(l, da, l->r * l->in, fresh[2], dx[2]);
        if (dx[3]) lora_add(l, db, l->r * l->out, fresh[3], dx[3]);
    }
}
