/* What a low-rank adapter adds to a product, and its gradients. */
#include <string.h>

#include "kernel/real.h"

/* Rows are done in blocks, while what one product leaves is in the cache for the next. Neighbouring blocks make a
 * group, which sums what it adds to the gradients of a and b for itself; the sums of groups are added in their order.
 * Both depend on the shapes alone, so that results do not depend on the threads. */
enum { LORA_ROWS = 64, LORA_GROUPS = 16, LORA_COLUMNS = 256 };

static int64_t lora_least(int64_t a, int64_t b) { return a < b ? a : b; }

static int64_t lora_blocks(const PFK(lora) * l) { return (l->rows + LORA_ROWS - 1) / LORA_ROWS; }

static int64_t lora_groups(const PFK(lora) * l) { return lora_least(lora_blocks(l), LORA_GROUPS); }

/* values of a group's scratch: du [LORA_ROWS, r], da [r, in], db^T [r, out] */
static int64_t lora_part(const PFK(lora) * l) { return l->r * (LORA_ROWS + l->in + l->out); }

static bool lora_wide(const PFK(lora) * l) { return l->rows * (l->in + l->out) > PFK_WORTH_THREADS; }

static void lora_scale(pf_real *u, int64_t n, pf_real scale) {
    for (int64_t i = 0; i < n; i++) u[i] *= scale;
}

/* ---- forward ---- */

/* rows t..t+n of u and y */
static void lora_rows(const PFK(lora) * l, int64_t t, int64_t n, pf_real *y, pf_real *u, const pf_real *y0) {
    const int64_t r = l->r, in = l->in, out = l->out;
    PFK(gemm)(1, false, true, n, r, in, l->x + t * in, in, l->a, in, 0, u + t * r, r);
    lora_scale(u + t * r, n * r, l->scale);
    memcpy(y + t * out, y0 + t * out, (size_t)(n * out) * sizeof *y);
    PFK(gemm)(1, false, true, n, out, r, u + t * r, r, l->b, r, 1, y + t * out, out);
}

void PFK(lora_forward)(const PFK(lora) * l, pf_real *y, pf_real *u, const pf_real *y0) {
#pragma omp parallel for num_threads(l->threads) schedule(dynamic, 1) if (lora_wide(l))
    for (int64_t t = 0; t < l->rows; t += LORA_ROWS) lora_rows(l, t, lora_least(l->rows - t, LORA_ROWS), y, u, y0);
}

/* ---- backward ---- */

size_t PFK(lora_scratch)(const PFK(lora) * l) { return (size_t)(lora_groups(l) * lora_part(l)) * sizeof(pf_real); }

/* gradients of n rows of y0 and x, where these point to theirs; what the rows add to those of a and b, in part */
static void lora_rows_back(const PFK(lora) * l, int64_t n, const pf_real *x, const pf_real *u, const pf_real *dy,
                           pf_real *const dx[4], const bool fresh[4], pf_real *part, pf_real beta) {
    const int64_t r = l->r, in = l->in, out = l->out;
    pf_real *du = part, *da = du + LORA_ROWS * r, *db = da + r * in;
    if (dx[0]) (fresh[0] ? PFK(copy) : PFK(accumulate))(1, dx[0], dy, n * out);
    if (dx[3]) PFK(gemm)(1, true, false, r, out, n, u, r, dy, out, beta, db, out);
    if (!dx[1] && !dx[2]) return;
    PFK(gemm)(1, false, false, n, r, out, dy, out, l->b, r, 0, du, r);
    lora_scale(du, n * r, l->scale);
    if (dx[1]) PFK(gemm)(1, false, false, n, in, r, du, r, l->a, in, fresh[1] ? 0 : 1, dx[1], in);
    if (dx[2]) PFK(gemm)(1, true, false, r, in, n, du, r, x, in, beta, da, in);
}

static void lora_group_back(const PFK(lora) * l, int64_t g, const pf_real *u, const pf_real *dy, pf_real *const dx[4],
                            const bool fresh[4], pf_real *part) {
    const int64_t first = g * lora_blocks(l) / lora_groups(l), end = (g + 1) * lora_blocks(l) / lora_groups(l);
    for (int64_t i = first; i < end; i++) {
        const int64_t t = i * LORA_ROWS, n = lora_least(l->rows - t, LORA_ROWS);
        pf_real *const at[4] = {dx[0] ? dx[0] + t * l->out : NULL, dx[1] ? dx[1] + t * l->in : NULL, dx[2], dx[3]};
        lora_rows_back(l, n, l->x + t * l->in, u + t * l->r, dy + t * l->out, at, fresh, part, i == first ? 0 : 1);
    }
}

/* columns j..j+n of the gradient of a, [r, in], or of that of b, turned, [out, r], from the groups' [r, width], width =
 * in or out, the first of which is at part */
static void lora_sum(const PFK(lora) * l, const pf_real *part, int64_t width, int64_t j, int64_t n, bool turned,
                     bool fresh, pf_real *dx) {
    for (int64_t k = 0; k < l->r; k++) {
        pf_real sum[LORA_COLUMNS] = {0};
        for (int64_t g = 0; g < lora_groups(l); g++) {
            const pf_real *from = part + g * lora_part(l) + k * width + j;
            for (int64_t i = 0; i < n; i++) sum[i] += from[i];
        }
        for (int64_t i = 0; i < n; i++) {
            pf_real *to = turned ? dx + (j + i) * l->r + k : dx + k * width + j + i;
            *to = fresh ? sum[i] : *to + sum[i];
        }
    }
}

void PFK(lora_backward)(const PFK(lora) * l, pf_real *const dx[4], const bool fresh[4], const pf_real *dy,
                        const pf_real *u, void *scratch) {
    pf_real *part = scratch, *da = part + LORA_ROWS * l->r, *db = da + l->r * l->in;
    const int64_t wide_a = dx[2] ? l->in : 0, wide_b = dx[3] ? l->out : 0;
#pragma omp parallel num_threads(l->threads) if (lora_wide(l))
    {
#pragma omp for schedule(dynamic, 1)
        for (int64_t g = 0; g < lora_groups(l); g++) lora_group_back(l, g, u, dy, dx, fresh, part + g * lora_part(l));
#pragma omp for schedule(static) nowait
        for (int64_t j = 0; j < wide_a; j += LORA_COLUMNS)
            lora_sum(l, da, l->in, j, lora_least(wide_a - j, LORA_COLUMNS), false, fresh[2], dx[2]);
#pragma omp for schedule(static)
        for (int64_t j = 0; j < wide_b; j += LORA_COLUMNS)
            lora_sum(l, db, l->out, j, lora_least(wide_b - j, LORA_COLUMNS), true, fresh[3], dx[3]);
    }
}
