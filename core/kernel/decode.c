/* Kernels of sampling, for few rows: each is computed the same way whatever stands beside it. Weights are read as they
 * are stored. */
#include <math.h>
#include <string.h>

#include "kernel/stored.h"
#include "kernel/vector.h"

enum { DECODE_TASKS = 16 }; /* parts of a product that threads share out */

/* ---- products ---- */

static bool decode_reads(pf_dtype type) { return type == PF_F32 || type == PF_BF16 || type == PF_F16; }

bool pfk_rows_narrow(int set, pf_dtype compute, pf_dtype type) {
    return compute == PF_BF16 && type == PF_BF16 && pfk_vector_set(set)->product_bf16;
}

void pfk_narrow_rows(int set, int threads, uint16_t *y, const float *x, int64_t rows, int64_t in) {
    const pfk_vector *use = pfk_vector_set(set);
#pragma omp parallel for num_threads(threads) schedule(static) if (rows * in > PFK_WORTH_THREADS)
    for (int64_t r = 0; r < rows; r++) use->narrow(y + r * in, x + r * in, in);
}

size_t pfk_linear_rows_scratch(int threads, pf_dtype type, int64_t in) {
    return decode_reads(type) ? 0 : (size_t)(threads * PFK_PANEL * in) * sizeof(float);
}

typedef struct decode_product {
    const pfk_vector *use;
    float *y;
    const float *x;
    const uint16_t *narrow;
    pf_dtype type;
    const void *w, *then;
    int64_t rows, out, in, panels, each; /* a thread takes that many panels at a time */
    void *scratch;
} decode_product;

/* where panel p begins; those after the last are taken for the first of what is read afterwards */
static const void *decode_panel_at(const decode_product *p, int64_t panel) {
    const int64_t all = (p->panels + p->each - 1) / p->each * p->each;
    if (panel < p->panels) return linear_at(p->type, p->w, p->in, panel * PFK_PANEL);
    return p->then ? linear_at(p->type, p->then, p->in, (panel - all) * PFK_PANEL) : NULL;
}

/* the columns of one panel of w; next: the panel that this thread reads afterwards */
static void decode_panel(const decode_product *p, int64_t panel, int64_t next) {
    const int64_t from = panel * PFK_PANEL, n = p->out - from < PFK_PANEL ? p->out - from : PFK_PANEL;
    const void *w = decode_panel_at(p, panel), *then = decode_panel_at(p, next);
    if (p->narrow) {
        p->use->product_bf16(p->y + from, p->out, p->narrow, p->in, p->in, w, p->in, p->rows, n, then);
    } else if (decode_reads(p->type)) {
        p->use->product(p->y + from, p->out, p->x, p->in, p->in, w, p->in, p->type, p->rows, n, then);
    } else {
        float *wide = (float *)p->scratch + pfk_thread() * PFK_PANEL * p->in;
        pfk_widen_f32(p->type, w, wide, n * p->in);
        p->use->product(p->y + from, p->out, p->x, p->in, p->in, wide, p->in, PF_F32, p->rows, n, NULL);
    }
}

/* the next of tasks that threads share, each of them `each` */
static int64_t decode_take(int64_t *tasks, int64_t each) {
    int64_t first;
#pragma omp atomic capture
    {
        first = *tasks;
        *tasks += each;
    }
    return first;
}

void pfk_linear_rows(int set, int threads, float *y, const float *x, const uint16_t *narrow, pf_dtype type,
                     const void *w, const void *then, int64_t rows, int64_t out, int64_t in, void *scratch) {
    const int64_t panels = (out + PFK_PANEL - 1) / PFK_PANEL, each = (panels + DECODE_TASKS - 1) / DECODE_TASKS;
    const decode_product p = {pfk_vector_set(set), y, x, narrow, type, w, then, rows, out, in, panels, each, scratch};
    int64_t tasks = 0;
#pragma omp parallel num_threads(threads) if (rows * out * in > 8 * PFK_WORTH_THREADS)
    for (int64_t first = decode_take(&tasks, each), next; first < panels; first = next) {
        const int64_t end = first + each < panels ? first + each : panels;
        next = decode_take(&tasks, each); /* before the work, so that it can be fetched meanwhile */
        for (int64_t i = first; i < end; i++) decode_panel(&p, i, i + 1 < end ? i + 1 : next);
    }
}

/* ---- attention ---- */

void pfk_store_rows(pf_dtype kv, void *k, void *v, const float *x_k, const float *x_v, const int32_t *place,
                    const pfk_attention_f32 *a) {
    const size_t bytes = (size_t)(a->D / pfk_block(kv)) * pfk_block_bytes(kv);
#pragma omp parallel for num_threads(a->threads) schedule(static) if (2 * a->T * a->G * a->D > PFK_WORTH_THREADS / 4)
    for (int64_t i = 0; i < a->T * a->G; i++) {
        const int64_t at = place[i / a->G], page = at / PFK_PAGE * a->G + i % a->G;
        const size_t to = (size_t)(page * PFK_PAGE + at % PFK_PAGE) * bytes;
        pfk_narrow(kv, (char *)k + to, x_k + i * a->D, a->D);
        pfk_narrow(kv, (char *)v + to, x_v + i * a->D, a->D);
    }
}

/* what a row's heads that share the keys and values of head g see of a pool: the places list[0..len) */
typedef struct decode_seen {
    const pfk_attention_f32 *a;
    pf_dtype kv;
    const void *k, *v;
    const int32_t *list;
    int64_t len, r, g;
} decode_seen;

static decode_seen decode_see(const decode_seen *all, const int32_t *const *list, const int64_t *len, int64_t task) {
    decode_seen s = *all;
    s.r = task / s.a->G;
    s.g = task % s.a->G;
    const int64_t skip = s.a->window > 0 && len[s.r] > s.a->window ? len[s.r] - s.a->window : 0;
    s.list = list[s.r] + skip;
    s.len = len[s.r] - skip;
    return s;
}

/* the i-th that is seen, in k or v */
static const void *decode_at(const decode_seen *s, const void *pool, int64_t i) {
    const int64_t page = s->list[i] / PFK_PAGE, in = s->list[i] % PFK_PAGE;
    return linear_at(s->kv, pool, s->a->D, (page * s->a->G + s->g) * PFK_PAGE + in);
}

/* how many places from the i-th on follow one another in a page */
static int64_t decode_run(const decode_seen *s, int64_t i) {
    int64_t n = 1;
    while (i + n < s->len && s->list[i + n] == s->list[i] + n && s->list[i + n] % PFK_PAGE) n++;
    return n;
}

/* scores of one row's heads to probabilities */
static void decode_softmax(float *s, int64_t len, float scale, float cap) {
    for (int64_t i = 0; cap > 0 && i < len; i++) s[i] = cap * tanhf(scale * s[i] / cap);
    const double sum = pfk_exp_sum_f32(s, s, pfk_max_f32(s, len), cap > 0 ? 1 : scale, len);
    const float share = (float)(1 / sum);
    for (int64_t i = 0; i < len; i++) s[i] *= share;
}

/* o of q, both [heads of g, D]; p: scratch [heads of g, len]; then: what is read afterwards, or NULL */
static void decode_row(const pfk_vector *use, float *o, const float *q, const decode_seen *s, float *p,
                       const void *then) {
    const pfk_attention_f32 *a = s->a;
    const int64_t heads = a->H / a->G, len = s->len, D = a->D;
    for (int64_t i = 0, n; i < len; i += n) {
        n = decode_run(s, i);
        use->product(p + i, len, q, D, D, decode_at(s, s->k, i), D, s->kv, heads, n,
                     i + n < len ? decode_at(s, s->k, i + n) : decode_at(s, s->v, 0));
    }
    for (int64_t h = 0; h < heads; h++) decode_softmax(p + h * len, len, a->scale, a->cap);
    for (int64_t i = 0, n; i < len; i += n) {
        n = decode_run(s, i);
        use->mixture(o, D, p + i, len, decode_at(s, s->v, i), D, s->kv, D, n, i > 0, heads,
                     i + n < len ? decode_at(s, s->v, i + n) : then);
    }
}

void pfk_attention_rows(int set, float *o, const float *q, pf_dtype kv, const void *k, const void *v,
                        const int32_t *const *list, const int64_t *len, const pfk_attention_f32 *a, float *scratch) {
    const int64_t heads = a->H / a->G, work = a->T * a->H * a->longest * a->D, all = a->T * a->G;
    const decode_seen pool = {.a = a, .kv = kv, .k = k, .v = v};
    int64_t tasks = 0;
#pragma omp parallel num_threads(a->threads) if (work > 8 * PFK_WORTH_THREADS)
    for (int64_t t = decode_take(&tasks, 1), next; t < all; t = next) {
        next = decode_take(&tasks, 1);
        const decode_seen s = decode_see(&pool, list, len, t),
                          after = decode_see(&pool, list, len, next < all ? next : t);
        const int64_t at = (s.r * a->H + s.g * heads) * a->D;
        decode_row(pfk_vector_set(set), o + at, q + at, &s, scratch + pfk_thread() * heads * a->longest,
                   decode_at(&after, k, 0));
    }
}
