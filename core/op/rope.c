#include "op/turn.h"

/* channels that turn, from the first; the rest passes */
static int64_t rope_channels(const pfi_call *c) { return c->in[2] ? 2 * c->in[2]->dim[0] : c->in[0]->dim[2]; }

/* saved[0]: the angles */
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

static pf_status rope_forward(pfi_call *c) {
    turn_angles(c, c->saved[0], c->x[1], c->dim[0], rope_channels(c) / 2, c->x[2], c->num[0], c->num[1]);
    turn_pairs(c, c->y, c->x[0], c->saved[0], rope_channels(c) / 2, 1, false);
    return PF_OK;
}

static pf_status rope_backward(pfi_call *c) {
    turn_pairs(c, c->dx[0], c->dy, c->saved[0], rope_channels(c) / 2, -1, true);
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
