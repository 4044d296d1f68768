#include "op/zip.h"

/* channels that turn, from the first; the rest passes */
static int64_t rope_channels(const pfi_call *c) { return c->in[2] ? 2 * c->in[2]->dim[0] : c->in[0]->dim[2]; }

/* saved[0]: cosines [T, R/2] and sines [T, R/2], times factor; every head of a token turns by the same angles */
static pf_status rope_shape(pfi_call *c) {
    const pf_tensor *x = c->in[0];
    PF_TRY(pfi_need_ndim(c, 0, 3));
    PF_TRY(pfi_need_shape(c, 1, 1, x->dim));
    if (c->in[2]) PF_TRY(pfi_need_ndim(c, 2, 1));
    const int64_t R = rope_channels(c);
    if (R % 2)
        return pfi_call_fail(c, PF_SHAPE, "x has %lld channels per head, an even number is needed", (long long)R);
    if (R > x->dim[2])
        return pfi_call_fail(c, PF_SHAPE, "inv_freq turns %lld channels, x has %lld per head", (long long)R,
                             (long long)x->dim[2]);
    if (!(c->num[0] > 0)) return pfi_call_fail(c, PF_RANGE, "base must be above 0, got %g", c->num[0]);
    c->saved_bytes[0] = (size_t)(x->dim[0] * R) * sizeof(pf_real);
    return pfi_shape_like(c, 0);
}

/* out[T, H, D] (+)= x turned forwards or, sign -1, backwards: pairs are (j, j + R/2) */
static void rope_turn(pfi_call *c, pf_real *out, const pf_real *x, pf_real sign, bool add) {
    const int64_t T = c->dim[0], H = c->dim[1], D = c->dim[2], R = rope_channels(c), half = R / 2;
    const pf_real *cosine = c->saved[0], *sine = cosine + T * half;
    PFI_EACH_OF(c, T * H, D, {
        const pf_real *co = cosine + i / H * half;
        const pf_real *si = sine + i / H * half;
        const pf_real *a = x + i * D;
        const pf_real *b = a + half;
        pf_real *p = out + i * D;
        pf_real *q = p + half;
        for (int64_t j = R; j < D; j++) out[i * D + j] = add ? out[i * D + j] + x[i * D + j] : x[i * D + j];
        if (add)
            for (int64_t j = 0; j < half; j++) {
                p[j] += a[j] * co[j] - sign * b[j] * si[j];
                q[j] += b[j] * co[j] + sign * a[j] * si[j];
            }
        else
            for (int64_t j = 0; j < half; j++) {
                p[j] = a[j] * co[j] - sign * b[j] * si[j];
                q[j] = b[j] * co[j] + sign * a[j] * si[j];
            }
    });
}

static pf_status rope_forward(pfi_call *c) {
    const int64_t T = c->dim[0], half = rope_channels(c) / 2;
    const int32_t *position = c->x[1];
    const pf_real *given = c->x[2];
    const double base = c->num[0], factor = c->num[1];
    pf_real *cosine = c->saved[0], *sine = cosine + T * half;
    PFI_EACH_OF(c, T * half, 16, {
        const int64_t j = i % half;
        const double turn = given ? (double)given[j] : pow(base, -(double)j / (double)half);
        const double angle = turn * position[i / half];
        cosine[i] = (pf_real)(cos(angle) * factor);
        sine[i] = (pf_real)(sin(angle) * factor);
    });
    rope_turn(c, c->y, c->x[0], 1, false);
    return PF_OK;
}

static pf_status rope_backward(pfi_call *c) {
    rope_turn(c, c->dx[0], c->dy, -1, true);
    return PF_OK;
}

static const pf_param rope_params[] = {{.name = "x", .kind = PF_KIND_TENSOR},
                                       {.name = "position", .kind = PF_KIND_TOKEN},
                                       {.name = "base", .kind = PF_KIND_NUMBER, .optional = true, .value = 10000},
                                       {.name = "inv_freq", .kind = PF_KIND_CONSTANT, .optional = true},
                                       {.name = "factor", .kind = PF_KIND_NUMBER, .optional = true, .value = 1}};
static const int32_t rope_many[150] = {[1] = 1, [2] = 2, [149] = 4000};
static const pfi_case rope_cases[] = {
    {.dim = {PFI_S3(3, 2, 4), PFI_S1(3)}, .ints = {NULL, (const int32_t[]){0, 1, 7}}},
    {.dim = {PFI_S3(2, 1, 10), PFI_S1(2)}, .ints = {NULL, (const int32_t[]){5, 1000}}, .args = "base=500000"},
    {.dim = {PFI_S3(2, 2, 6), PFI_S1(2), PFI_S1(3)},
     .ints = {NULL, (const int32_t[]){3, 2}},
     .reals = {NULL, NULL, (const double[]){1, 0.5, 0.0625}}},
    {.dim = {PFI_S3(2, 2, 7), PFI_S1(2), PFI_S1(2)},
     .ints = {NULL, (const int32_t[]){3, 2}},
     .reals = {NULL, NULL, (const double[]){1, 0.25}},
     .args = "factor=1.5"},
    {.dim = {PFI_S3(150, 15, 18), PFI_S1(150)}, .ints = {NULL, rope_many}},
    {.dim = {PFI_S3(1, 2, 3), PFI_S1(1)}, .ints = {NULL, (const int32_t[]){0}}, .want = PF_SHAPE},
    {.dim = {PFI_S3(1, 2, 4), PFI_S1(2)}, .ints = {NULL, (const int32_t[]){0, 1}}, .want = PF_SHAPE},
    {.dim = {PFI_S3(1, 2, 4), PFI_S1(1), PFI_S1(3)}, .ints = {NULL, (const int32_t[]){0}}, .want = PF_SHAPE},
};

PFI_OP(
    rope, PFI_PARAMS(rope_params), PFI_CASES(rope_cases), PFI_STAGES(rope), .unread = 1u << 0 | 1u << PFI_RESULT,
    PFI_DOC("Rotary position embedding, the layout of Hugging Face's Llama. x[T, H, D], position[T]: channels j and "
            "j + R/2 turn by position * base^(-2j/R) with R = D, or by position * inv_freq[j] with inv_freq[R/2] and "
            "R <= D, and are multiplied by factor; channels from R on stay as they are."));
