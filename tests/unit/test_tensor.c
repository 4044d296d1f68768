/* Tensors: views, steps, history, errors, and the gradient check. */
#include "support.h"

#include <math.h>

#include "harness.h"
#include "op/op.h"

static pf_tensor *tensor_of(pf_ctx *ctx, int nd, const int64_t *dim, const double *v) {
    size_t n = 1;
    for (int i = 0; i < nd; i++) n *= (size_t)dim[i];
    pf_tensor *t = pf_tensor_from(ctx, PF_F64, nd, dim, v, n);
    assert_non_null(t);
    return t;
}

static pf_tensor *leaf_of(pf_ctx *ctx, int nd, const int64_t *dim, const double *v) {
    pf_tensor *t = tensor_of(ctx, nd, dim, v);
    assert_int_equal(pf_tensor_set_grad(t, true), PF_OK);
    return t;
}

#define DIMS(...)                                                                                                      \
    PFI_COUNT(((int64_t[]){__VA_ARGS__})), (int64_t[]) { __VA_ARGS__ }

static void assert_values(const pf_tensor *t, const double *want, size_t n) {
    double have[64];
    assert_non_null(t);
    assert_int_equal(pf_tensor_read(t, have, n), PF_OK);
    for (size_t i = 0; i < n; i++)
        if (!(fabs(have[i] - want[i]) <= 1e-12)) fail_msg("element %zu is %g, expected %g", i + 1, have[i], want[i]);
}

#define VALUES(t, ...) assert_values((t), (double[]){__VA_ARGS__}, PFI_COUNT(((double[]){__VA_ARGS__})))

static const double six[] = {1, 2, 3, 4, 5, 6};

/* ---- views ---- */

static void views_share_storage(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pf_tensor *x = tensor_of(ctx, DIMS(2, 3), six);
    pf_tensor *t = pf_call(ctx, "transpose", PF_T("x", x));
    pf_tensor *row = pf_call(ctx, "narrow", PF_T("x", t), PF_N("dim", 0), PF_N("start", 1), PF_N("length", 2));
    pf_tensor *wide = pf_call(ctx, "expand", PF_T("x", row), PF_D("shape", ((int64_t[]){2, 2, 2}), 3));
    pf_tensor *flat = pf_call(ctx, "reshape", PF_T("x", row), PF_D("shape", ((int64_t[]){-1}), 1));
    VALUES(t, 1, 4, 2, 5, 3, 6);
    VALUES(row, 2, 5, 3, 6);
    VALUES(wide, 2, 5, 3, 6, 2, 5, 3, 6);
    VALUES(flat, 2, 5, 3, 6);
    assert_int_equal(pf_tensor_write(x, (double[]){1, 20, 3, 4, 5, 6}, 6), PF_OK);
    VALUES(wide, 20, 5, 3, 6, 20, 5, 3, 6);
    VALUES(flat, 2, 5, 3, 6); /* a copy: row was not contiguous */
    pf_tensor_free(x);        /* the storage lives on in its views */
    VALUES(row, 20, 5, 3, 6);
    pf_tensor_free(t);
    pf_tensor_free(row);
    pf_tensor_free(wide);
    pf_tensor_free(flat);
    support_close(ctx);
}

static void gradients_flow_through_views(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pf_tensor *x = leaf_of(ctx, DIMS(2, 3), six);
    pf_tensor *t = pf_call(ctx, "transpose", PF_T("x", x));
    pf_tensor *row = pf_call(ctx, "narrow", PF_T("x", t), PF_N("dim", 0), PF_N("start", 1), PF_N("length", 2));
    pf_tensor *wide = pf_call(ctx, "expand", PF_T("x", row), PF_D("shape", ((int64_t[]){2, 2, 2}), 3));
    pf_tensor *y = pf_call(ctx, "exp", PF_T("x", wide)); /* a copy in row order comes between */
    support_backward(ctx, y, (double[]){1, 1, 1, 1, 2, 2, 2, 2});
    VALUES(pf_tensor_grad(x), 0, 3 * exp(2), 3 * exp(3), 0, 3 * exp(5), 3 * exp(6));
    pf_tensor_free(x);
    pf_tensor_free(t);
    pf_tensor_free(row);
    pf_tensor_free(wide);
    pf_tensor_free(y);
    support_close(ctx);
}

static void broadcasting(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pf_tensor *a = leaf_of(ctx, DIMS(2, 1), (double[]){1, 2}), *b = leaf_of(ctx, DIMS(3), (double[]){10, 20, 30});
    pf_tensor *y = pf_call(ctx, "mul", PF_T("x", a), PF_T("y", b));
    VALUES(y, 10, 20, 30, 20, 40, 60);
    support_backward(ctx, y, six);
    VALUES(pf_tensor_grad(a), 10 + 40 + 90, 40 + 100 + 180);
    VALUES(pf_tensor_grad(b), 1 + 8, 2 + 10, 3 + 12);
    pf_tensor_free(a);
    pf_tensor_free(b);
    pf_tensor_free(y);
    support_close(ctx);
}

static void empty_tensors(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pf_tensor *x = leaf_of(ctx, DIMS(0, 3), NULL), *b = leaf_of(ctx, DIMS(3), six);
    pf_tensor *y = pf_call(ctx, "add", PF_T("x", x), PF_T("y", b)), *s = pf_call(ctx, "sum", PF_T("x", y));
    VALUES(s, 0);
    support_ok(ctx, pf_backward(s));
    VALUES(pf_tensor_grad(b), 0, 0, 0);
    pf_tensor *w = tensor_of(ctx, DIMS(2, 0), NULL), *none = tensor_of(ctx, DIMS(3, 0), NULL);
    pf_tensor *zero = pf_call(ctx, "linear", PF_T("x", none), PF_T("w", w));
    VALUES(zero, 0, 0, 0, 0, 0, 0);
    pf_tensor_free(x);
    pf_tensor_free(b);
    pf_tensor_free(y);
    pf_tensor_free(s);
    pf_tensor_free(w);
    pf_tensor_free(none);
    pf_tensor_free(zero);
    support_close(ctx);
}

/* What was broadcast is summed in double: in float, adding a hundred thousand tenths one by one is off by 1e-4. */
static void gradients_are_summed_in_double(void **state) {
    (void)state;
    enum { MANY = 100000 };
    pf_ctx *ctx = support_open();
    double *tenth = malloc(MANY * sizeof *tenth);
    assert_non_null(tenth);
    for (int i = 0; i < MANY; i++) tenth[i] = 0.1;
    pf_tensor *w = pf_tensor_from(ctx, PF_F32, 2, (int64_t[]){MANY, 1}, tenth, MANY);
    pf_tensor *b = pf_tensor_from(ctx, PF_F32, 2, (int64_t[]){1, 1}, six, 1);
    pf_tensor *bias = pf_tensor_from(ctx, PF_F32, 1, (int64_t[]){1}, six, 1);
    free(tenth);
    for (int way = 0; way < 3; way++) {
        pf_tensor *leaf = way == 2 ? bias : b, *y = NULL;
        support_ok(ctx, pf_tensor_set_grad(leaf, true));
        if (way == 0) y = pf_call(ctx, "add", PF_T("x", w), PF_T("y", leaf));
        if (way == 1) y = pf_call(ctx, "expand", PF_T("x", leaf), PF_D("shape", w->dim, 2));
        if (way == 2) y = pf_call(ctx, "linear", PF_T("x", w), PF_T("w", b), PF_T("b", leaf));
        pf_tensor *z = pf_call(ctx, "mul", PF_T("x", y), PF_T("y", w)), *s = pf_call(ctx, "sum", PF_T("x", z));
        support_ok(ctx, pf_backward(s));
        double sum = pf_tensor_item(pf_tensor_grad(leaf));
        if (!(fabs(sum - 1e4) < 1e-2)) fail_msg("way %d: the gradient is %.9g", way, sum);
        pf_tensor_zero_grad(leaf);
        pf_tensor_set_grad(leaf, false);
        pf_tensor_free(y);
        pf_tensor_free(z);
        pf_tensor_free(s);
    }
    pf_tensor_free(w);
    pf_tensor_free(b);
    pf_tensor_free(bias);
    support_close(ctx);
}

/* ---- steps ---- */

static void a_step_ends_everything(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pf_tensor *x = leaf_of(ctx, DIMS(2), six);
    size_t before, after;
    pf_memory(ctx, &before, NULL);
    support_ok(ctx, pf_step_begin(ctx));
    pf_tensor *y = pf_call(ctx, "exp", PF_T("x", x)), *s = pf_call(ctx, "sum", PF_T("x", y));
    pf_tensor *held = pf_tensor_retain(y); /* as a script's variable would */
    support_ok(ctx, pf_backward(s));
    pf_step_end(ctx);
    VALUES(pf_tensor_grad(x), exp(1), exp(2)); /* a gradient lives as long as its leaf */
    pf_tensor_zero_grad(x);
    double v[2];
    support_fails(ctx, pf_tensor_read(held, v, 2), PF_STATE, "step that has ended");
    assert_true(isnan(pf_tensor_item(s)));
    assert_null(pf_call(ctx, "exp", PF_T("x", held)));
    assert_int_equal(pf_errcode(ctx), PF_STATE);
    assert_null(pf_tensor_detach(held));
    support_fails(ctx, pf_tensor_write(held, v, 2), PF_STATE, "step that has ended");
    support_fails(ctx, pf_backward(s), PF_STATE, "step that has ended");
    pf_tensor_free(held); /* a collector may come late */
    pf_tensor_free(y);
    pf_tensor_free(s);
    pf_memory(ctx, &after, NULL);
    assert_int_equal(before, after);
    pf_tensor_free(x);
    support_close(ctx);
}

static void keep_outlives_the_step(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pf_tensor *x = leaf_of(ctx, DIMS(2), six);
    support_ok(ctx, pf_step_begin(ctx));
    pf_tensor *y = pf_tensor_keep(pf_call(ctx, "neg", PF_T("x", x)));
    pf_tensor *z = pf_call(ctx, "exp", PF_T("x", y));
    pf_tensor *leaf = pf_tensor_keep(leaf_of(ctx, DIMS(1), six));
    assert_false(pf_tensor_needs_grad(y));
    pf_step_end(ctx);
    VALUES(y, -1, -2);
    assert_int_equal(pfi_alive(z), PF_STATE);
    assert_true(pf_tensor_needs_grad(leaf));
    assert_null(pf_tensor_keep(NULL));
    pf_tensor_free(x);
    pf_tensor_free(y);
    pf_tensor_free(z);
    pf_tensor_free(leaf);
    support_close(ctx);
}

static void steps_nest(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pf_tensor *x = leaf_of(ctx, DIMS(2), six);
    support_ok(ctx, pf_step_begin(ctx));
    pf_tensor *outer = pf_call(ctx, "exp", PF_T("x", x));
    support_ok(ctx, pf_step_begin(ctx));
    pf_tensor *inner = pf_call(ctx, "neg", PF_T("x", outer));
    pf_step_end(ctx);
    assert_int_equal(pfi_alive(inner), PF_STATE);
    VALUES(outer, exp(1), exp(2));
    support_backward(ctx, outer, (double[]){1, 1}); /* its history is whole */
    VALUES(pf_tensor_grad(x), exp(1), exp(2));
    pf_step_end(ctx);
    assert_int_equal(pfi_alive(outer), PF_STATE);
    pf_step_end(ctx); /* one too many is harmless */
    pf_tensor_free(outer);
    pf_tensor_free(inner);
    pf_tensor_free(x);
    support_close(ctx);
}

/* ---- history ---- */

static void history_is_used_once(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pf_tensor *x = leaf_of(ctx, DIMS(2), six);
    pf_tensor *y = pf_call(ctx, "exp", PF_T("x", x));
    pf_tensor *a = pf_call(ctx, "sum", PF_T("x", y)), *b = pf_call(ctx, "mean", PF_T("x", y));
    support_fails(ctx, pf_backward(y), PF_SHAPE, "[2]");
    support_ok(ctx, pf_backward(a));
    support_fails(ctx, pf_backward(a), PF_STATE, "no history");
    support_fails(ctx, pf_backward(b), PF_STATE, "earlier backward"); /* not silently without exp's part */
    VALUES(pf_tensor_grad(x), exp(1), exp(2));
    pf_tensor *plain = tensor_of(ctx, 0, NULL, six);
    support_fails(ctx, pf_backward(plain), PF_STATE, "no history");
    bool was = pf_set_recording(ctx, false);
    pf_tensor *quiet = pf_call(ctx, "sum", PF_T("x", x));
    assert_true(was);
    assert_false(pf_set_recording(ctx, true));
    assert_false(pf_tensor_needs_grad(quiet));
    support_fails(ctx, pf_backward(quiet), PF_STATE, "recording was off");
    pf_tensor_free(x);
    pf_tensor_free(y);
    pf_tensor_free(a);
    pf_tensor_free(b);
    pf_tensor_free(plain);
    pf_tensor_free(quiet);
    support_close(ctx);
}

static void detach_stops_gradients(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pf_tensor *x = leaf_of(ctx, DIMS(2), six);
    pf_tensor *d = pf_tensor_detach(x), *y = pf_call(ctx, "mul", PF_T("x", x), PF_T("y", d));
    support_backward(ctx, y, (double[]){1, 1});
    VALUES(pf_tensor_grad(x), 1, 2); /* x^2 would give 2, 4 */
    assert_null(pf_tensor_grad(d));
    pf_tensor_free(x);
    pf_tensor_free(d);
    pf_tensor_free(y);
    support_close(ctx);
}

/* contexts may be closed before what was made on them, and tensors freed in any order */
static void close_order(void **state) {
    (void)state;
    harness_memory m = {.fail_at = -1};
    pf_ctx *ctx;
    assert_int_equal(pf_open(&ctx, &(pf_allocator){harness_realloc, &m}), PF_OK);
    pf_tensor *x = leaf_of(ctx, DIMS(2, 3), six);
    pf_tensor *y = pf_call(ctx, "transpose", PF_T("x", x)), *z = pf_call(ctx, "exp", PF_T("x", y));
    pf_tensor *s = pf_call(ctx, "sum", PF_T("x", z));
    pf_close(ctx);
    pf_tensor_free(x);
    pf_tensor_free(y);
    support_ok(ctx, pf_backward(s));
    pf_tensor_free(s);
    pf_tensor_free(z);
    assert_int_equal(m.blocks, 0);
    assert_int_equal(m.bytes, 0);
    assert_int_equal(m.broken, 0);
    pf_close(NULL);
    pf_tensor_free(NULL);
    m.fail_at = m.calls;
    assert_int_equal(pf_open(&ctx, &(pf_allocator){harness_realloc, &m}), PF_NOMEM);
    assert_null(ctx);
}

/* Large blocks wait to be used again; what is held is never more than the peak of what was in use; all goes back. */
static void large_blocks_wait(void **state) {
    (void)state;
    enum { MB = 1 << 20 };
    harness_memory m = {.fail_at = -1};
    pf_ctx *ctx;
    assert_int_equal(pf_open(&ctx, &(pf_allocator){harness_realloc, &m}), PF_OK);
    ctx->reuse = true;
    void *a = pfi_alloc_data(ctx, 4 * MB), *b = pfi_alloc(ctx, MB), *c = pfi_alloc(ctx, 100);
    const long calls = m.calls;
    const size_t peak = ctx->peak, used = ctx->used;
    pfi_free(ctx, a);
    pfi_free(ctx, c);
    assert_int_equal(m.blocks, 3); /* the context, b and what waits; c has gone */
    assert_true(ctx->used < used - 4 * MB);
    void *again = pfi_alloc_data(ctx, 4 * MB - 100 * 1024); /* a little shorter */
    assert_ptr_equal(again, a);
    assert_int_equal(m.calls, calls);
    pfi_free(ctx, again);
    void *d = pfi_alloc(ctx, 2 * MB); /* a block of twice the size is no good, but there is room for both no more */
    assert_ptr_not_equal(d, a);
    assert_int_equal(m.blocks, 3);
    assert_int_equal(ctx->peak, peak);
    pfi_free(ctx, d);
    pfi_free(ctx, b);
    assert_int_equal(m.blocks, 3);
    assert_true(m.bytes <= peak);
    void *f = pfi_alloc(ctx, MB / 4); /* another size: what waits would stand between gaps, so all of it goes */
    assert_int_equal(m.blocks, 2);
    pfi_free(ctx, f);
    m.fail_at = m.calls; /* the system has no more: what waits goes back before that is an error */
    void *e = pfi_alloc(ctx, 100);
    assert_non_null(e);
    assert_int_equal(m.blocks, 2);
    pfi_free(ctx, e);
    pfi_free(ctx, pfi_alloc(ctx, MB));
    assert_int_equal(m.blocks, 2);
    assert_int_equal(ctx->used, sizeof *ctx);
    pf_close(ctx);
    assert_int_equal(m.blocks, 0);
    assert_int_equal(m.bytes, 0);
    assert_int_equal(m.broken, 0);
}

/* ---- observing ---- */

typedef struct seen_events {
    int n;
    pf_event last;
} seen_events;

static void seen(void *ud, const pf_event *e) {
    seen_events *s = ud;
    assert_true(e->start >= s->last.start && e->seconds >= 0);
    s->n++;
    s->last = *e;
}

static void observer_sees_all(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    seen_events s = {0};
    pf_tensor *x = leaf_of(ctx, DIMS(2, 3), six), *w = tensor_of(ctx, DIMS(2, 3), six);
    pf_observe(ctx, seen, &s);
    pf_tensor *y = pf_call(ctx, "linear", PF_T("x", x), PF_T("w", w));
    assert_int_equal(s.n, 1);
    assert_string_equal(s.last.name, "linear");
    assert_false(s.last.backward);
    assert_int_equal(s.last.layer, -1);
    assert_true(s.last.flops == 2 * 2 * 2 * 3);
    assert_true(s.last.bytes == 8 * (6 + 6 + 4));
    pf_tensor *sum = pf_call(ctx, "sum", PF_T("x", y));
    support_ok(ctx, pf_backward(sum));
    assert_int_equal(s.n, 4);
    assert_string_equal(s.last.name, "linear");
    assert_true(s.last.backward);
    assert_true(s.last.flops == 2 * 2 * 2 * 3); /* of x alone */
    assert_true(s.last.bytes == 8 * (2 * 6 + 6 + 4));
    pf_observe(ctx, NULL, NULL);
    pf_tensor *z = pf_call(ctx, "exp", PF_T("x", w));
    assert_int_equal(s.n, 4);
    pf_tensor *made[] = {x, w, y, sum, z};
    for (int i = 0; i < PFI_COUNT(made); i++) pf_tensor_free(made[i]);
    support_close(ctx);
}

/* ---- errors ---- */

static void null_runs_through(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pf_tensor *a = tensor_of(ctx, DIMS(2), six), *b = tensor_of(ctx, DIMS(3), six);
    pf_tensor *y = pf_call(ctx, "mul", PF_T("x", a), PF_T("y", b));
    pf_tensor *z = pf_call(ctx, "sum", PF_T("x", pf_call(ctx, "exp", PF_T("x", y))));
    assert_null(y);
    assert_null(z);
    assert_int_equal(pf_errcode(ctx), PF_SHAPE);
    assert_string_equal(pf_errmsg(ctx), "mul: x has shape [2], y has shape [3]; sizes must be equal or 1");
    assert_null(pf_tensor_detach(NULL));
    assert_null(pf_tensor_retain(NULL));
    assert_true(isnan(pf_tensor_item(NULL)));
    pf_tensor_free(a);
    pf_tensor_free(b);
    support_close(ctx);
}

static void arguments_are_checked(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pf_tensor *a = tensor_of(ctx, DIMS(2), six);
#define REFUSED(s, text, ...)                                                                                          \
    do {                                                                                                               \
        assert_null(pf_call(ctx, __VA_ARGS__));                                                                        \
        support_fails(ctx, pf_errcode(ctx), s, text);                                                                  \
    } while (0)
    REFUSED(PF_NAME, "there is no operation \"sun\"", "sun", PF_T("x", a));
    REFUSED(PF_NAME, "did you mean \"keep\"", "sum", PF_T("x", a), PF_N("keeep", 1));
    REFUSED(PF_TYPE, "argument \"y\" is missing", "mul", PF_T("x", a));
    REFUSED(PF_TYPE, "must be a tensor", "mul", PF_T("x", a), PF_N("y", 1));
    REFUSED(PF_TYPE, "must be a number", "sum", PF_T("x", a), PF_T("dim", a));
    REFUSED(PF_TYPE, "whole number", "sum", PF_T("x", a), PF_N("dim", 0.5));
    REFUSED(PF_RANGE, "not a number", "sum", PF_T("x", a), PF_N("dim", (double)NAN));
    REFUSED(PF_TYPE, "list of at most", "reshape", PF_T("x", a), PF_N("shape", 2));
    REFUSED(PF_NAME, "one of: tanh exact", "gelu", PF_T("x", a), PF_S("form", "quick"));
#undef REFUSED
    assert_null(pf_op_find("sun"));
    assert_null(pf_op_at(-1));
    assert_null(pf_op_at(pf_op_count()));
    pf_tensor_free(a);
    support_close(ctx);
}

static void tensors_refuse(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    assert_null(pf_tensor_new(ctx, PF_F32, 5, (int64_t[]){1, 1, 1, 1, 1}));
    support_fails(ctx, pf_errcode(ctx), PF_SHAPE, "0 to 4 dimensions");
    assert_null(pf_tensor_new(ctx, PF_F32, 2, (int64_t[]){1, -2}));
    support_fails(ctx, pf_errcode(ctx), PF_SHAPE, "-2");
    assert_null(pf_tensor_new(ctx, PF_F32, 2, (int64_t[]){INT64_MAX, INT64_MAX}));
    assert_int_equal(pf_errcode(ctx), PF_NOMEM);
    assert_null(pf_tensor_new(ctx, PF_F64, 1, (int64_t[]){INT64_MAX / 2 + 1}));
    assert_int_equal(pf_errcode(ctx), PF_NOMEM);
    assert_null(pf_tensor_new(ctx, PF_DTYPES, 0, NULL));
    assert_int_equal(pf_errcode(ctx), PF_TYPE);
    assert_null(pf_tensor_from(ctx, PF_F32, 1, (int64_t[]){2}, six, 3));
    support_fails(ctx, pf_errcode(ctx), PF_SHAPE, "2 values, got 3");
    assert_null(pf_tensor_from(ctx, PF_I32, 1, (int64_t[]){1}, (double[]){0.5}, 1));
    support_fails(ctx, pf_errcode(ctx), PF_TYPE, "whole numbers");
    assert_null(pf_tensor_from(ctx, PF_I32, 1, (int64_t[]){1}, (double[]){3e9}, 1));
    pf_tensor *x = leaf_of(ctx, DIMS(2), six), *y = pf_call(ctx, "neg", PF_T("x", x));
    assert_true(isnan(pf_tensor_item(x)));
    support_fails(ctx, pf_errcode(ctx), PF_SHAPE, "2 values, got 1");
    support_fails(ctx, pf_tensor_write(y, six, 2), PF_STATE, "result of an operation");
    support_fails(ctx, pf_tensor_set_grad(y, true), PF_STATE, "leaf");
    pf_tensor *ids = pf_tensor_from(ctx, PF_I32, 1, (int64_t[]){2}, six, 2);
    support_fails(ctx, pf_tensor_set_grad(ids, true), PF_TYPE, "int32");
    assert_int_equal(pf_tensor_dim(ids, 0), 2);
    assert_int_equal(pf_tensor_dim(ids, 1), 1);
    pf_tensor_free(x);
    pf_tensor_free(y);
    pf_tensor_free(ids);
    support_close(ctx);
}

/* ---- gradcheck ---- */

static pf_tensor *product(void *ud, pf_tensor *const *in, int n) {
    const char *how = ud;
    pf_ctx *ctx = in[0]->ctx;
    pf_tensor *left = *how == 'd' ? pf_tensor_detach(in[0]) : pf_tensor_retain(in[0]);
    pf_tensor *y = pf_call(ctx, *how == 'l' ? "log" : "exp", PF_T("x", left));
    pf_tensor *z = pf_call(ctx, "mul", PF_T("x", y), PF_T("y", in[n - 1])), *s = pf_call(ctx, "sum", PF_T("x", z));
    pf_tensor_free(left);
    pf_tensor_free(y);
    if (*how == 'v') {
        pf_tensor_free(s);
        return z;
    }
    pf_tensor_free(z);
    return s;
}

static pf_status gradcheck_once(pf_ctx *ctx, void *ud) {
    pf_tensor *in[2] = {pf_tensor_from(ctx, PF_F64, 1, (int64_t[]){2}, six, 2),
                        pf_tensor_from(ctx, PF_F64, 1, (int64_t[]){2}, six, 2)};
    pf_gradcheck_result r;
    pf_status s = in[0] && in[1] ? pf_gradcheck(ctx, product, ud, in, 2, &r) : pf_errcode(ctx);
    pf_tensor_free(in[0]);
    pf_tensor_free(in[1]);
    return s;
}

static void gradcheck_finds_errors(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pf_tensor *in[2] = {leaf_of(ctx, DIMS(3), (double[]){0.5, -1, 2}), tensor_of(ctx, DIMS(3), six)};
    support_backward(ctx, in[0], six); /* a gradient of before comes back afterwards */
    pf_gradcheck_result r;
    size_t before, after;
    pf_memory(ctx, &before, NULL);
    support_ok(ctx, pf_gradcheck(ctx, product, "right", in, 2, &r));
    assert_true(r.worst < 1e-8);
    support_ok(ctx, pf_gradcheck(ctx, product, "detached", in, 2, &r));
    assert_true(r.worst > 0.9);
    assert_int_equal(r.input, 0);
    assert_true(r.analytic == 0 && fabs(r.numeric) > 0.1);
    support_fails(ctx, pf_gradcheck(ctx, product, "log", in, 2, &r), PF_NONFINITE, "value");
    support_fails(ctx, pf_gradcheck(ctx, product, "vector", in, 2, &r), PF_SHAPE, "[3]");
    pf_memory(ctx, &after, NULL);
    assert_int_equal(before, after);
    VALUES(in[0], 0.5, -1, 2);
    VALUES(pf_tensor_grad(in[0]), 1, 2, 3);
    assert_true(pf_tensor_needs_grad(in[0]) && !pf_tensor_needs_grad(in[1]));
    pf_tensor *single = pf_tensor_new(ctx, PF_F32, 1, (int64_t[]){3});
    support_fails(ctx, pf_gradcheck(ctx, product, "right", (pf_tensor *[]){in[0], single}, 2, &r), PF_TYPE, "input 2");
    pf_tensor_free(in[0]);
    pf_tensor_free(in[1]);
    pf_tensor_free(single);
    support_close(ctx);
    support_sweep(gradcheck_once, "right", 3);
}

/* a sum's backward does not read what was added: those values go with their last holder, and stay for a product */
static void unread_values_go(void **state) {
    (void)state;
    enum { N = 5000, BYTES = N * sizeof(double) };
    pf_ctx *ctx = support_open();
    pf_tensor *x = pf_tensor_new(ctx, PF_F64, DIMS(N));
    for (size_t i = 0; i < N; i++) pfi_set(x, i, 3);
    assert_int_equal(pf_tensor_set_grad(x, true), PF_OK);
    pf_tensor *a = pf_call(ctx, "add", PF_T("x", x), PF_T("y", x)),
              *b = pf_call(ctx, "add", PF_T("x", a), PF_T("y", x));
    size_t used = ctx->used;
    pf_tensor_free(a);
    assert_true(ctx->used + BYTES <= used && ctx->used + 2 * BYTES > used);
    pf_tensor *c = pf_call(ctx, "mul", PF_T("x", b), PF_T("y", b));
    used = ctx->used;
    pf_tensor_free(b);
    assert_int_equal(ctx->used, used);
    pf_tensor *sum = pf_call(ctx, "sum", PF_T("x", c)); /* of (3 x)^2 */
    pf_tensor_free(c);
    support_ok(ctx, pf_backward(sum));
    for (size_t i = 0; i < N; i += 999) assert_true(pfi_get(pf_tensor_grad(x), i) == 2 * 9 * 3);
    pf_tensor_free(sum);
    pf_tensor_free(x);
    support_close(ctx);
}

enum { NORM_ROWS = 300, NORM_COLS = 20 };

/* sum of the squares of a norm's result y and of 3 y, whose values are held until then or not: the gradient of x */
static void norm_used_twice(pf_ctx *ctx, int threads, bool held, double *grad) {
    enum { N = NORM_ROWS * NORM_COLS, BYTES = N * sizeof(double) };
    support_ok(ctx, pf_set_threads(ctx, threads));
    pf_tensor *x = pf_tensor_new(ctx, PF_F64, DIMS(NORM_ROWS, NORM_COLS)), *w = pf_tensor_new(ctx, PF_F64, DIMS(20));
    for (size_t i = 0; i < N; i++) pfi_set(x, i, sin((double)i));
    for (size_t i = 0; i < NORM_COLS; i++) pfi_set(w, i, 1 + (double)i);
    support_ok(ctx, pf_tensor_set_grad(x, true));
    pf_tensor *three = pf_tensor_from(ctx, PF_F64, 0, NULL, (double[]){3}, 1);
    pf_tensor *y = pf_call(ctx, "rms_norm", PF_T("x", x), PF_T("w", w));
    pf_tensor *a = pf_call(ctx, "mul", PF_T("x", y), PF_T("y", y)),
              *b = pf_call(ctx, "mul", PF_T("x", y), PF_T("y", three)),
              *c = pf_call(ctx, "mul", PF_T("x", b), PF_T("y", b)),
              *d = pf_call(ctx, "add", PF_T("x", a), PF_T("y", c));
    const size_t used = ctx->used;
    if (!held) pf_tensor_free(y);
    if (!held) assert_true(ctx->used + BYTES <= used && ctx->used + 2 * BYTES > used);
    pf_tensor *sum = pf_call(ctx, "sum", PF_T("x", d));
    support_ok(ctx, pf_backward(sum));
    if (held) pf_tensor_free(y);
    for (size_t i = 0; i < N; i++) grad[i] = pfi_get(pf_tensor_grad(x), i);
    pf_tensor *all[] = {x, w, three, a, b, c, d, sum};
    for (int i = 0; i < PFI_COUNT(all); i++) pf_tensor_free(all[i]);
}

/* ... is made again for the backward of all that read it, to the bit, and goes again */
static void cheap_values_are_made_again(void **state) {
    (void)state;
    enum { N = NORM_ROWS * NORM_COLS };
    static double want[N], got[N];
    pf_ctx *ctx = support_open();
    norm_used_twice(ctx, 1, true, want);
    assert_true(fabs(want[7]) > 0.1);
    for (int threads = 1; threads <= 3; threads++) {
        norm_used_twice(ctx, threads, false, got);
        assert_memory_equal(want, got, sizeof want);
    }
    support_close(ctx);
}

/* a product of a product of ...: every second one is made again, of one that is there */
static void cheap_chains_are_short(void **state) {
    (void)state;
    enum { N = 5000, BYTES = N * sizeof(double), LINKS = 20 };
    pf_ctx *ctx = support_open();
    pf_tensor *x = pf_tensor_new(ctx, PF_F64, DIMS(N));
    for (size_t i = 0; i < N; i++) pfi_set(x, i, 1.5);
    support_ok(ctx, pf_tensor_set_grad(x, true));
    pf_tensor *y = pf_tensor_retain(x);
    const size_t used = ctx->used;
    for (int i = 0; i < LINKS; i++) {
        pf_tensor *z = pf_call(ctx, "mul", PF_T("x", y), PF_T("y", x));
        pf_tensor_free(y);
        y = z;
    }
    assert_true(ctx->used < used + (LINKS / 2 + 1) * (BYTES + 2000));
    pf_tensor *sum = pf_call(ctx, "sum", PF_T("x", y));
    pf_tensor_free(y);
    support_ok(ctx, pf_backward(sum));
    for (size_t i = 0; i < N; i += 999)
        assert_true(fabs(pfi_get(pf_tensor_grad(x), i) / (21 * pow(1.5, 20)) - 1) < 1e-14);
    pf_tensor_free(sum);
    pf_tensor_free(x);
    support_close(ctx);
}

/* one block serves the gradients of a sum, of what was added and of what that is a view of; a second use adds to it */
static void gradients_are_handed_on(void **state) {
    (void)state;
    enum { N = 10000, BYTES = N * sizeof(double) };
    pf_ctx *ctx = support_open();
    pf_tensor *x = pf_tensor_new(ctx, PF_F64, DIMS(N)), *other = pf_tensor_new(ctx, PF_F64, DIMS(100, 100));
    support_ok(ctx, pf_tensor_set_grad(x, true));
    pf_tensor *flat = pf_call(ctx, "reshape", PF_T("x", x), PF_D("shape", ((int64_t[]){100, 100}), 2));
    pf_tensor *y = pf_call(ctx, "add", PF_T("x", flat), PF_T("y", other)), *sum = pf_call(ctx, "sum", PF_T("x", y));
    pfi_trim(ctx);
    const size_t used = ctx->used;
    support_ok(ctx, pf_backward(sum));
    assert_true(ctx->high < used + 2 * BYTES);
    assert_int_equal(pf_tensor_ndim(pf_tensor_grad(x)), 1);
    pf_tensor_free(sum);
    pf_tensor_free(y);
    y = pf_call(ctx, "add", PF_T("x", x), PF_T("y", x));
    sum = pf_call(ctx, "sum", PF_T("x", y));
    support_ok(ctx, pf_backward(sum));
    for (size_t i = 0; i < N; i += 999) assert_true(pfi_get(pf_tensor_grad(x), i) == 3);
    pf_tensor *all[] = {x, other, flat, y, sum};
    for (int i = 0; i < PFI_COUNT(all); i++) pf_tensor_free(all[i]);
    support_close(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(views_share_storage),
        cmocka_unit_test(gradients_flow_through_views),
        cmocka_unit_test(broadcasting),
        cmocka_unit_test(empty_tensors),
        cmocka_unit_test(gradients_are_summed_in_double),
        cmocka_unit_test(a_step_ends_everything),
        cmocka_unit_test(keep_outlives_the_step),
        cmocka_unit_test(steps_nest),
        cmocka_unit_test(history_is_used_once),
        cmocka_unit_test(detach_stops_gradients),
        cmocka_unit_test(close_order),
        cmocka_unit_test(large_blocks_wait),
        cmocka_unit_test(observer_sees_all),
        cmocka_unit_test(unread_values_go),
        cmocka_unit_test(cheap_values_are_made_again),
        cmocka_unit_test(cheap_chains_are_short),
        cmocka_unit_test(gradients_are_handed_on),
        cmocka_unit_test(null_runs_through),
        cmocka_unit_test(arguments_are_checked),
        cmocka_unit_test(tensors_refuse),
        cmocka_unit_test(gradcheck_finds_errors),

    };
    return cmocka_run_group_tests_name("tensor", tests, NULL, NULL);
}
