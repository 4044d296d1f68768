/* Frozen weights in storage types: products, embeddings and the head give what they give on the widened weight, and
 * the gradient flows through them to the input alone. */
#include "support.h"

#include <math.h>

#include "kernel/kernel.h"
#include "op/op.h"

static const pf_dtype stored_types[] = {PF_BF16, PF_F16,  PF_Q8_0, PF_Q4_0, PF_Q4_1,
                                        PF_Q5_0, PF_Q5_1, PF_Q4_K, PF_Q5_K, PF_Q6_K};

/* bytes that are random but for the scales of blocks, which are about 1/64 */
static void stored_fill(pf_tensor *t, uint64_t seed) {
    unsigned char *p = pfi_data(t);
    size_t block = pfk_block_bytes(t->dtype);
    bool min = t->dtype == PF_Q4_1 || t->dtype == PF_Q5_1 || t->dtype == PF_Q4_K || t->dtype == PF_Q5_K;
    uint64_t state = seed + (uint64_t)t->dtype;
    for (size_t i = 0; i < t->st->bytes; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u; /* Knuth's MMIX */
        uint32_t r = (uint32_t)(state >> 40);
        size_t at = i % block, scale = t->dtype == PF_Q6_K ? 208 : 0;
        p[i] = (unsigned char)r;
        if (block == 2 && at == 1) p[i] = (unsigned char)(r % 2 * 0x80 + (t->dtype == PF_BF16 ? 0x3d : 0x2c));
        if (block > 2 && at == scale + 1) p[i] = t->dtype >= PF_Q4_K ? 0x10 : 0x24;
        if (min && at == 3) p[i] = t->dtype >= PF_Q4_K ? 0x10 : 0xa4;
    }
}

static pf_tensor *stored_new(pf_ctx *ctx, pf_dtype type, int64_t rows, int64_t cols) {
    pf_tensor *t = pf_tensor_new(ctx, type, 2, (int64_t[]){rows, cols});
    assert_non_null(t);
    stored_fill(t, 7);
    return t;
}

static pf_tensor *stored_widened(const pf_tensor *t, pf_dtype real) {
    pf_tensor *r = pf_tensor_new(t->ctx, real, t->nd, t->dim);
    assert_non_null(r);
    if (real == PF_F32)
        pfk_widen_f32(t->dtype, pfi_data(t), pfi_data(r), (int64_t)pfi_numel(t));
    else
        pfk_widen_f64(t->dtype, pfi_data(t), pfi_data(r), (int64_t)pfi_numel(t));
    return r;
}

static pf_tensor *stored_random(pf_ctx *ctx, pf_dtype type, int nd, const int64_t *dim, uint64_t seed) {
    pf_tensor *t = pf_tensor_new(ctx, type, nd, dim);
    assert_non_null(t);
    for (size_t i = 0; i < pfi_numel(t); i++) pfi_set(t, i, pfi_random_normal(seed, 0, i));
    return t;
}

/* the result of an operation on x and w, and the gradient of x for random weights of the result */
typedef struct stored_result {
    pf_tensor *y, *dx;
} stored_result;

static stored_result stored_run(pf_ctx *ctx, const char *op, pf_tensor *x, pf_tensor *w, pf_tensor *node,
                                pf_tensor *target) {
    stored_result r = {0};
    support_ok(ctx, pf_tensor_set_grad(x, true));
    pf_tensor_zero_grad(x);
    r.y = node ? pfi_apply(ctx, op, (pf_tensor *[]){x, w, node, target}, (double[]){0}, NULL, 0)
               : pfi_apply(ctx, op, (pf_tensor *[]){x, w, NULL}, NULL, NULL, 0);
    if (!r.y) fail_msg("%s", pf_errmsg(ctx));
    if (r.y->needs_grad) {
        pf_tensor *c = stored_random(ctx, r.y->dtype, r.y->nd, r.y->dim, 99);
        pf_tensor *z = pf_call(ctx, "mul", PF_T("x", r.y), PF_T("y", c)), *sum = pf_call(ctx, "sum", PF_T("x", z));
        assert_non_null(sum);
        support_ok(ctx, pf_backward(sum));
        r.dx = pf_tensor_retain(x->grad);
        assert_non_null(r.dx);
        pf_tensor_free(c);
        pf_tensor_free(z);
        pf_tensor_free(sum);
    }
    assert_null(w->grad);
    return r;
}

static void stored_free(stored_result r) {
    pf_tensor_free(r.y);
    pf_tensor_free(r.dx);
}

static void stored_same(const pf_tensor *a, const pf_tensor *b, const char *what, pf_dtype type) {
    size_t n = pfi_dtype_bytes(a->dtype, pfi_numel(a));
    assert_int_equal(pfi_numel(a), pfi_numel(b));
    if (memcmp(pfi_data(a), pfi_data(b), n) != 0) fail_msg("%s of %s: other bits", what, pfi_dtype_name(type));
}

static void stored_close(const pf_tensor *a, const pf_tensor *b, double tol, const char *what, pf_dtype type) {
    double most = 0, norm = 0;
    for (size_t i = 0; i < pfi_numel(b); i++) {
        most = fmax(most, fabs(pfi_get(a, i) - pfi_get(b, i)));
        norm = fmax(norm, fabs(pfi_get(b, i)));
    }
    if (!(most <= tol * norm)) fail_msg("%s of %s: off by %g of %g", what, pfi_dtype_name(type), most, norm);
}

/* a product over several tiles of rows and columns and several panels; one thread and four */
static void test_linear(void **state) {
    (void)state;
    static const int64_t shapes[][3] = {{3, 5, 256}, {600, 400, 512}, {7, 1100, 768}, {5, 5000, 512}};
    pf_ctx *ctx = support_open();
    for (int i = 0; i < PFI_COUNT(stored_types); i++) {
        for (int k = 0; k < PFI_COUNT(shapes); k++) {
            const int64_t rows = shapes[k][0], out = shapes[k][1], in = shapes[k][2];
            pf_tensor *w = stored_new(ctx, stored_types[i], out, in), *wide = stored_widened(w, PF_F32);
            pf_tensor *x = stored_random(ctx, PF_F32, 2, (int64_t[]){rows, in}, 1);
            wide->needs_grad = false;
            support_ok(ctx, pf_set_threads(ctx, 1));
            stored_result want = stored_run(ctx, "linear", x, wide, NULL, NULL);
            stored_result one = stored_run(ctx, "linear", x, w, NULL, NULL);
            support_ok(ctx, pf_set_threads(ctx, 4));
            stored_result four = stored_run(ctx, "linear", x, w, NULL, NULL);
            stored_same(one.y, want.y, "linear", w->dtype);
            stored_same(four.y, one.y, "linear with four threads", w->dtype);
            stored_same(four.dx, one.dx, "its gradient with four threads", w->dtype);
            stored_close(one.dx, want.dx, 2e-6, "the gradient of linear", w->dtype);
            stored_free(want);
            stored_free(one);
            stored_free(four);
            pf_tensor_free(w);
            pf_tensor_free(wide);
            pf_tensor_free(x);
        }
    }
    support_close(ctx);
}

static void test_head_and_embedding(void **state) {
    (void)state;
    const int32_t nodes[] = {3, 0, 0, 5, 3}, targets[] = {499, 7, 8, 0, 130};
    pf_ctx *ctx = support_open();
    pf_tensor *node = pf_tensor_new(ctx, PF_I32, 1, (int64_t[]){5}),
              *id = pf_tensor_new(ctx, PF_I32, 1, (int64_t[]){5});
    memcpy(pfi_data(node), nodes, sizeof nodes);
    memcpy(pfi_data(id), targets, sizeof targets);
    for (int i = 0; i < PFI_COUNT(stored_types); i++) {
        pf_tensor *w = stored_new(ctx, stored_types[i], 500, 256), *wide = stored_widened(w, PF_F32);
        pf_tensor *h = stored_random(ctx, PF_F32, 2, (int64_t[]){6, 256}, 2);
        static const char *const ops[] = {"token_logp", "token_stats"};
        for (int k = 0; k < 2; k++) {
            stored_result want = stored_run(ctx, ops[k], h, wide, node, id),
                          got = stored_run(ctx, ops[k], h, w, node, id);
            stored_same(got.y, want.y, ops[k], w->dtype);
            if (k == 0) stored_close(got.dx, want.dx, 2e-6, "the gradient of token_logp", w->dtype);
            stored_free(want);
            stored_free(got);
        }
        pf_tensor *want = pf_call(ctx, "embedding", PF_T("w", wide), PF_T("ids", id));
        pf_tensor *got = pf_call(ctx, "embedding", PF_T("w", w), PF_T("ids", id));
        assert_true(want && got && got->dtype == PF_F32 && !got->needs_grad);
        stored_same(got, want, "embedding", w->dtype);
        pf_tensor_free(want);
        pf_tensor_free(got);
        pf_tensor_free(h);
        pf_tensor_free(w);
        pf_tensor_free(wide);
    }
    pf_tensor_free(node);
    pf_tensor_free(id);
    support_close(ctx);
}

/* sampling's product by each set of vector instructions: the bits of the widened weight, one thread and three, all rows
 * together and each alone, and the naive sum */
static void test_rows(void **state) {
    (void)state;
    enum { ROWS = 31, OUT = 607, IN = 256 };
    static float x[ROWS * IN], want[ROWS * OUT], got[ROWS * OUT];
    pf_ctx *ctx = support_open();
    for (int i = 0; i < ROWS * IN; i++) x[i] = (float)pfi_random_normal(4, 0, (uint64_t)i);
    for (int i = 0; i < PFI_COUNT(stored_types) * pfk_vector_sets(); i++) {
        const int set = i / PFI_COUNT(stored_types) + 1;
        pf_tensor *w = stored_new(ctx, stored_types[i % PFI_COUNT(stored_types)], OUT, IN);
        pf_tensor *wide = stored_widened(w, PF_F32);
        const size_t bytes = pfk_linear_rows_scratch(3, w->dtype, IN);
        void *scratch = malloc(bytes + 1);
        assert_non_null(scratch);
        pfk_linear_rows(set, 1, want, x, NULL, PF_F32, pfi_data(wide), NULL, ROWS, OUT, IN, NULL);
        for (int threads = 1; threads <= 3; threads += 2) {
            pfk_linear_rows(set, threads, got, x, NULL, w->dtype, pfi_data(w), x, ROWS, OUT, IN, scratch);
            assert_memory_equal(got, want, sizeof want);
        }
        for (int r = 0; r < ROWS; r++)
            pfk_linear_rows(set, 3, got + r * OUT, x + r * IN, NULL, w->dtype, pfi_data(w), NULL, 1, OUT, IN, scratch);
        assert_memory_equal(got, want, sizeof want);
        for (int r = 0; r < ROWS; r += 7)
            for (int o = 0; o < OUT; o += 13) {
                double sum = 0, size = 0;
                for (int k = 0; k < IN; k++) {
                    double p = (double)x[r * IN + k] * pfi_get(w, (size_t)(o * IN + k));
                    sum += p;
                    size += fabs(p);
                }
                assert_true(fabs(sum - (double)want[r * OUT + o]) <= 1e-6 * size);
            }
        free(scratch);
        pf_tensor_free(w);
        pf_tensor_free(wide);
    }
    support_close(ctx);
}

/* the naive sum dx = dy w + beta dx, through several panels */
static void test_back(void **state) {
    (void)state;
    enum { ROWS = 3, OUT = 4200, IN = 512 };
    static float dy[ROWS * OUT], start[ROWS * IN], dx[ROWS * IN];
    pf_ctx *ctx = support_open();
    for (int i = 0; i < ROWS * OUT; i++) dy[i] = (float)pfi_random_normal(5, 0, (uint64_t)i);
    for (int i = 0; i < ROWS * IN; i++) start[i] = (float)pfi_random_normal(6, 0, (uint64_t)i);
    pf_tensor *w = stored_new(ctx, PF_Q5_K, OUT, IN), *wide = stored_widened(w, PF_F32);
    void *scratch = malloc(pfk_linear_scratch_f32(w->dtype, OUT, IN));
    assert_non_null(scratch);
    for (int beta = 0; beta < 2; beta++) {
        memcpy(dx, start, sizeof dx);
        pfk_linear_back_f32(2, dx, dy, w->dtype, pfi_data(w), ROWS, OUT, IN, (float)beta, scratch);
        for (int r = 0; r < ROWS; r++)
            for (int k = 0; k < IN; k += 7) {
                double sum = beta * (double)start[r * IN + k], size = fabs(sum);
                for (int o = 0; o < OUT; o++) {
                    double p = (double)dy[r * OUT + o] * (double)pfi_f32(wide)[o * IN + k];
                    sum += p;
                    size += fabs(p);
                }
                assert_true(fabs(sum - (double)dx[r * IN + k]) <= 1e-6 * size);
            }
    }
    free(scratch);
    pf_tensor_free(w);
    pf_tensor_free(wide);
    support_close(ctx);
}

/* ---- gradients in double ---- */

typedef struct stored_function {
    const char *op;
    pf_tensor *w, *node, *target;
} stored_function;

static pf_tensor *stored_loss(void *ud, pf_tensor *const *in, int n) {
    stored_function *f = ud;
    pf_ctx *ctx = in[0]->ctx;
    (void)n;
    pf_tensor *y = f->node
                       ? pfi_apply(ctx, f->op, (pf_tensor *[]){in[0], f->w, f->node, f->target}, (double[]){0}, NULL, 0)
                       : pfi_apply(ctx, f->op, (pf_tensor *[]){in[0], f->w, NULL}, NULL, NULL, 0);
    pf_tensor *c = y ? stored_random(ctx, PF_F64, y->nd, y->dim, 98) : NULL;
    pf_tensor *z = pf_call(ctx, "mul", PF_T("x", y), PF_T("y", c)), *sum = pf_call(ctx, "sum", PF_T("x", z));
    pf_tensor_free(y);
    pf_tensor_free(c);
    pf_tensor_free(z);
    return sum;
}

static void test_gradients(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pf_tensor *node = pf_tensor_from(ctx, PF_I32, 1, (int64_t[]){3}, (double[]){1, 0, 1}, 3);
    pf_tensor *target = pf_tensor_from(ctx, PF_I32, 1, (int64_t[]){3}, (double[]){8, 3, 0}, 3);
    for (int i = 0; i < PFI_COUNT(stored_types); i++) {
        pf_tensor *w = stored_new(ctx, stored_types[i], 9, 256);
        pf_tensor *x = stored_random(ctx, PF_F64, 2, (int64_t[]){2, 256}, 3);
        stored_function f[] = {{"linear", w, NULL, NULL}, {"token_logp", w, node, target}};
        for (int k = 0; k < 2; k++) {
            pf_gradcheck_result r;
            support_ok(ctx, pf_gradcheck(ctx, stored_loss, &f[k], &x, 1, &r));
            if (!(r.worst < 1e-6)) fail_msg("%s of %s: %g", f[k].op, pfi_dtype_name(w->dtype), r.worst);
        }
        pf_tensor_free(w);
        pf_tensor_free(x);
    }
    pf_tensor_free(node);
    pf_tensor_free(target);
    support_close(ctx);
}

/* ---- limits ---- */

static void test_refused(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pf_tensor *w = stored_new(ctx, PF_BF16, 4, 32), *x = stored_random(ctx, PF_F32, 2, (int64_t[]){2, 32}, 1);
    support_fails(ctx, pf_tensor_set_grad(w, true), PF_TYPE, "a bfloat16 tensor cannot collect gradients: weights in");
    assert_null(pfi_apply(ctx, "linear", (pf_tensor *[]){w, x, NULL}, NULL, NULL, 0));
    support_fails(ctx, pf_errcode(ctx), PF_TYPE, "linear: x is bfloat16, expected float32");
    assert_null(pfi_apply(ctx, "add", (pf_tensor *[]){x, w}, NULL, NULL, 0));
    support_fails(ctx, pf_errcode(ctx), PF_TYPE, "add: y is bfloat16, expected float32");
    pf_tensor *turned = pfi_tensor_alias(w, 2, (int64_t[]){32, 4}, (int64_t[]){1, 32}, 0);
    pf_tensor *y = stored_random(ctx, PF_F32, 2, (int64_t[]){2, 4}, 1);
    assert_null(pfi_apply(ctx, "linear", (pf_tensor *[]){y, turned, NULL}, NULL, NULL, 0));
    support_fails(ctx, pf_errcode(ctx), PF_TYPE, "linear: w is a view of a bfloat16 tensor");
    pf_tensor_free(turned);
    pf_tensor_free(y);
    pf_tensor_free(w);
    pf_tensor_free(x);
    support_close(ctx);
}

/* the widened matrix is never there as a whole */
static void test_peak(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    support_ok(ctx, pf_set_threads(ctx, 1));
    pf_tensor *w = stored_new(ctx, PF_Q4_0, 16384, 512), *x = stored_random(ctx, PF_F32, 2, (int64_t[]){1, 512}, 1);
    size_t before, peak;
    pf_memory(ctx, &before, &peak);
    assert_true(peak < before + 4096);
    stored_free(stored_run(ctx, "linear", x, w, NULL, NULL));
    pf_memory(ctx, NULL, &peak);
    assert_true(peak - before < (size_t)4 << 20); /* widened it would be 32 MiB */
    pf_tensor_free(w);
    pf_tensor_free(x);
    support_close(ctx);
}

static pf_status stored_everything(pf_ctx *ctx, void *ud) {
    (void)ud;
    pf_tensor *w = pf_tensor_new(ctx, PF_Q8_0, 2, (int64_t[]){4, 32});
    pf_tensor *x = pf_tensor_new(ctx, PF_F32, 2, (int64_t[]){2, 32});
    pf_status s = w && x ? pf_tensor_set_grad(x, true) : pf_errcode(ctx);
    pf_tensor *y = s == PF_OK ? pfi_apply(ctx, "linear", (pf_tensor *[]){x, w, NULL}, NULL, NULL, 0) : NULL;
    pf_tensor *sum = pf_call(ctx, "sum", PF_T("x", y));
    s = sum ? pf_backward(sum) : pf_errcode(ctx);
    pf_tensor_free(w);
    pf_tensor_free(x);
    pf_tensor_free(y);
    pf_tensor_free(sum);
    return s;
}

static void test_memory(void **state) {
    (void)state;
    support_sweep(stored_everything, NULL, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linear),    cmocka_unit_test(test_head_and_embedding),
        cmocka_unit_test(test_rows),      cmocka_unit_test(test_back),
        cmocka_unit_test(test_gradients), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_peak),      cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, support_cleanup);
}
