/* Figures of PyTorch: single operations with their gradients, and 16-bit storage. */
#include "support.h"

#include <jansson.h>
#include <math.h>

#include "base/half.h"
#include "harness.h"
#include "op/op.h"

/* ---- 16-bit storage ---- */

static json_t *golden_load(const char *name) {
    const char *root = getenv("POFIT_TESTDATA");
    char path[1024];
    if (!root || !*root) {
        printf("SKIP test_torch: %s needs POFIT_TESTDATA\n", name);
        skip();
    }
    snprintf(path, sizeof path, "%s/golden/%s", root, name);
    json_error_t error;
    json_t *j = json_load_file(path, 0, &error);
    if (!j) fail_msg("%s: %s", path, error.text);
    return j;
}

static uint32_t golden_bits(const json_t *j, const char *list, size_t i) {
    return (uint32_t)json_integer_value(json_array_get(json_object_get(j, list), i));
}

static void halves_match_torch(void **state) {
    (void)state;
    json_t *j = golden_load("f32_to_bf16_f16.json");
    size_t n = json_array_size(json_object_get(j, "f32_bits"));
    assert_true(n > 1000);
    for (size_t i = 0; i < n; i++) {
        float x = pfi_f32_of_bits(golden_bits(j, "f32_bits", i));
        uint16_t b = pfi_f32_to_bf16(x), h = pfi_f32_to_f16(x);
        if (json_is_true(json_array_get(json_object_get(j, "is_nan"), i))) {
            assert_true(isnan(pfi_bf16_to_f32(b)) && isnan(pfi_f16_to_f32(h)));
            continue;
        }
        if (b != golden_bits(j, "bf16_bits", i) || h != golden_bits(j, "f16_bits", i))
            fail_msg("%a: bfloat16 %04x, float16 %04x", (double)x, b, h);
    }
    json_decref(j);
}

/* every 16-bit pattern survives the way to float and back; tensors of these types hold what they are given */
static void halves_round_trip(void **state) {
    (void)state;
    for (uint32_t u = 0; u < 65536; u++) {
        uint16_t h = (uint16_t)u;
        float a = pfi_bf16_to_f32(h), b = pfi_f16_to_f32(h);
        if (!isnan(a)) assert_int_equal(pfi_f32_to_bf16(a), h);
        if (!isnan(b)) assert_int_equal(pfi_f32_to_f16(b), h);
    }
    pf_ctx *ctx = support_open();
    const double v[] = {0, -1.5, 3.140625, 1e30}, half[] = {0, -1.5, 3.140625, 65504};
    pf_tensor *b = pf_tensor_from(ctx, PF_BF16, 1, (int64_t[]){4}, v, 4);
    pf_tensor *h = pf_tensor_from(ctx, PF_F16, 1, (int64_t[]){4}, half, 4);
    double out[4];
    assert_int_equal(pf_tensor_read(b, out, 4), PF_OK);
    assert_true(out[0] == 0 && out[1] == -1.5 && out[2] == 3.140625 && fabs(out[3] / 1e30 - 1) < 0x1p-8);
    assert_int_equal(pf_tensor_read(h, out, 4), PF_OK);
    assert_memory_equal(out, half, sizeof half);
    assert_null(pf_call(ctx, "exp", PF_T("x", h)));
    support_fails(ctx, pf_errcode(ctx), PF_TYPE, "float16");
    pf_tensor_free(b);
    pf_tensor_free(h);
    support_close(ctx);
}

/* ---- operations ---- */

enum { GOLDEN_MAX = 512 };

static size_t golden_flatten(const json_t *j, double *out, int64_t *dim, int *nd, int depth) {
    if (!json_is_array(j)) {
        *nd = depth;
        *out = json_number_value(j);
        return 1;
    }
    size_t n = 0, i;
    json_t *item;
    if (depth < PF_MAX_DIMS) dim[depth] = (int64_t)json_array_size(j);
    json_array_foreach(j, i, item) n += golden_flatten(item, out + n, dim, nd, depth + 1);
    assert_true(n <= GOLDEN_MAX);
    return n;
}

static pf_tensor *golden_tensor(pf_ctx *ctx, pf_dtype dtype, const json_t *j) {
    double v[GOLDEN_MAX];
    int64_t dim[PF_MAX_DIMS];
    int nd = 0;
    size_t n = golden_flatten(j, v, dim, &nd, 0);
    pf_tensor *t = pf_tensor_from(ctx, dtype, nd, dim, v, n);
    assert_non_null(t);
    return t;
}

/* [1, H, T, D] to [T, H, D] */
static pf_tensor *golden_heads_inside(pf_ctx *ctx, pf_tensor *x) {
    pf_tensor *flat = pf_call(ctx, "reshape", PF_T("x", x), PF_D("shape", x->dim + 1, 3));
    pf_tensor *t = pf_call(ctx, "transpose", PF_T("x", flat), PF_N("dim1", 0), PF_N("dim2", 1));
    pf_tensor_free(flat);
    return t;
}

static pf_tensor *golden_attention(pf_ctx *ctx, pf_tensor *const *in) {
    const int64_t T = in[0]->dim[2];
    pf_tensor *q = golden_heads_inside(ctx, in[0]), *k = golden_heads_inside(ctx, in[1]);
    pf_tensor *v = golden_heads_inside(ctx, in[2]);
    pf_tensor *start = pf_tensor_from(ctx, PF_I32, 1, (int64_t[]){2}, (double[]){0, (double)T}, 2);
    pf_tensor *parent = pf_tensor_from(ctx, PF_I32, 1, (int64_t[]){1}, (double[]){-1}, 1);
    pf_tensor *o = pf_call(ctx, "attention", PF_T("q", q), PF_T("k", k), PF_T("v", v), PF_T("start", start),
                           PF_T("parent", parent), PF_N("scale", 0.5));
    pf_tensor *t = pf_call(ctx, "transpose", PF_T("x", o), PF_N("dim1", 0), PF_N("dim2", 1));
    pf_tensor *y = pf_call(ctx, "reshape", PF_T("x", t), PF_D("shape", in[0]->dim, 4));
    pf_tensor *made[] = {q, k, v, start, parent, o, t};
    for (int i = 0; i < PFI_COUNT(made); i++) pf_tensor_free(made[i]);
    return y;
}

static pf_tensor *golden_swiglu(pf_ctx *ctx, pf_tensor *const *in) {
    pf_tensor *gate = pf_call(ctx, "linear", PF_T("x", in[0]), PF_T("w", in[1]));
    pf_tensor *up = pf_call(ctx, "linear", PF_T("x", in[0]), PF_T("w", in[2]));
    pf_tensor *h = pf_call(ctx, "swiglu", PF_T("gate", gate), PF_T("up", up));
    pf_tensor *y = pf_call(ctx, "linear", PF_T("x", h), PF_T("w", in[3]));
    pf_tensor_free(gate);
    pf_tensor_free(up);
    pf_tensor_free(h);
    return y;
}

static pf_tensor *golden_rope(pf_ctx *ctx, pf_tensor *const *in) {
    const int64_t T = in[0]->dim[0], D = in[0]->dim[1];
    pf_tensor *place = pf_tensor_from(ctx, PF_I32, 1, &T, (double[]){0, 1, 2, 3, 4, 5, 6, 7}, (size_t)T);
    pf_tensor *x = pf_call(ctx, "reshape", PF_T("x", in[0]), PF_D("shape", ((int64_t[]){T, 1, D}), 3));
    pf_tensor *turned = pf_call(ctx, "rope", PF_T("x", x), PF_T("position", place));
    pf_tensor *y = pf_call(ctx, "reshape", PF_T("x", turned), PF_D("shape", ((int64_t[]){T, D}), 2));
    pf_tensor_free(place);
    pf_tensor_free(x);
    pf_tensor_free(turned);
    return y;
}

/* mean of -log_softmax at the labels, those below 0 left out: rows of the flattened matrix are picked by index */
static pf_tensor *golden_cross_entropy(pf_ctx *ctx, pf_tensor *const *in, const json_t *labels) {
    double at[64];
    int64_t n = 0, V = in[0]->dim[1];
    for (size_t i = 0; i < json_array_size(labels); i++) {
        double label = json_number_value(json_array_get(labels, i));
        if (label >= 0) at[n++] = (double)i * (double)V + label;
    }
    pf_tensor *place = pf_tensor_from(ctx, PF_I32, 1, &n, at, (size_t)n);
    pf_tensor *log = pf_call(ctx, "log_softmax", PF_T("x", in[0]));
    pf_tensor *flat = pf_call(ctx, "reshape", PF_T("x", log), PF_D("shape", ((int64_t[]){-1}), 1));
    pf_tensor *some = pf_call(ctx, "index", PF_T("x", flat), PF_T("at", place));
    pf_tensor *mean = pf_call(ctx, "mean", PF_T("x", some)), *y = pf_call(ctx, "neg", PF_T("x", mean));
    pf_tensor *made[] = {place, log, flat, some, mean};
    for (int i = 0; i < PFI_COUNT(made); i++) pf_tensor_free(made[i]);
    return y;
}

/* the row's operation, or NULL if it is one that the library does not have */
static pf_tensor *golden_apply(pf_ctx *ctx, const char *op, const json_t *params, pf_tensor *const *in, bool *known) {
    const double eps = json_number_value(json_object_get(params, "eps"));
    *known = true;
    if (strcmp(op, "rmsnorm") == 0)
        return pf_call(ctx, "rms_norm", PF_T("x", in[0]), PF_T("w", in[1]), PF_N("eps", eps));
    if (strcmp(op, "layernorm") == 0)
        return pf_call(ctx, "layer_norm", PF_T("x", in[0]), PF_T("w", in[1]), PF_T("b", in[2]), PF_N("eps", eps));
    if (strcmp(op, "gelu_erf") == 0) return pf_call(ctx, "gelu", PF_T("x", in[0]), PF_S("form", "exact"));
    if (strcmp(op, "gelu_tanh") == 0) return pf_call(ctx, "gelu", PF_T("x", in[0]));
    if (strcmp(op, "swiglu") == 0) return golden_swiglu(ctx, in);
    if (strncmp(op, "causal_attention", 16) == 0) return golden_attention(ctx, in);
    if (strncmp(op, "rope_half", 9) == 0) return golden_rope(ctx, in);
    if (strcmp(op, "cross_entropy_mean_ignore") == 0)
        return golden_cross_entropy(ctx, in, json_object_get(params, "labels"));
    if (strcmp(op, "embedding") == 0) {
        pf_tensor *ids = golden_tensor(ctx, PF_I32, json_object_get(params, "ids"));
        pf_tensor *y = pf_call(ctx, "embedding", PF_T("w", in[0]), PF_T("ids", ids));
        pf_tensor_free(ids);
        return y;
    }
    *known = pf_op_find(op) != NULL;
    return *known ? pf_call(ctx, op, PF_T("x", in[0])) : NULL;
}

/* PyTorch takes softplus for x itself above 20 */
static double golden_tolerance(const char *op, double tolerance) {
    return strcmp(op, "softplus") == 0 ? fmax(tolerance, 1e-9) : tolerance;
}

static void golden_close(const char *op, const char *what, pf_tensor *have, const json_t *want, double tolerance) {
    double a[GOLDEN_MAX], b[GOLDEN_MAX];
    int64_t dim[PF_MAX_DIMS];
    int nd;
    size_t n = golden_flatten(want, b, dim, &nd, 0);
    assert_non_null(have);
    assert_int_equal(pf_tensor_read(have, a, n), PF_OK);
    double d = harness_distance(a, b, n, 1, 0);
    if (!(d <= tolerance)) fail_msg("%s: %s differs by %g", op, what, d);
}

static bool golden_row(pf_ctx *ctx, const json_t *row, pf_dtype dtype, double closest) {
    const char *op = json_string_value(json_object_get(row, "op"));
    const json_t *inputs = json_object_get(row, "inputs"), *grads = json_object_get(row, "grad_inputs");
    const double tolerance = golden_tolerance(op, closest);
    pf_tensor *in[PF_MAX_INPUTS] = {NULL};
    bool known;
    for (size_t i = 0; i < json_array_size(inputs); i++) {
        in[i] = golden_tensor(ctx, dtype, json_array_get(inputs, i));
        assert_int_equal(pf_tensor_set_grad(in[i], true), PF_OK);
    }
    pf_tensor *y = golden_apply(ctx, op, json_object_get(row, "params"), in, &known);
    if (known) {
        if (!y) fail_msg("%s: %s", op, pf_errmsg(ctx));
        golden_close(op, "result", y, json_object_get(row, "output"), tolerance);
        double w[GOLDEN_MAX];
        int64_t dim[PF_MAX_DIMS];
        int nd;
        golden_flatten(json_object_get(row, "grad_output"), w, dim, &nd, 0);
        support_backward(ctx, y, w);
        for (size_t i = 0; i < json_array_size(grads); i++)
            golden_close(op, "gradient", pf_tensor_grad(in[i]), json_array_get(grads, i), tolerance);
    }
    pf_tensor_free(y);
    for (int i = 0; i < PF_MAX_INPUTS; i++) pf_tensor_free(in[i]);
    return known;
}

static void operations_match_torch(void **state) {
    (void)state;
    json_t *j = golden_load("ops_torch113.json"), *row;
    pf_ctx *ctx = support_open();
    size_t i, rows = 0;
    json_array_foreach(json_object_get(j, "ops"), i, row) {
        rows += golden_row(ctx, row, PF_F64, 1e-12);
        golden_row(ctx, row, PF_F32, 1e-5);
    }
    assert_int_equal(rows, 15); /* all but the interleaved rope and the smoothed cross entropy, which are not here */
    json_decref(j);
    support_close(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(halves_match_torch),
        cmocka_unit_test(halves_round_trip),
        cmocka_unit_test(operations_match_torch),
    };
    return cmocka_run_group_tests_name("torch", tests, NULL, NULL);
}
