#include "op/turn.h"

static pf_status rope_angles_shape(pfi_call *c) {
    PF_TRY(pfi_need_ndim(c, 0, 1));
    PF_TRY(pfi_need_ndim(c, 1, 1));
    c->nd = 3;
    c->dim[0] = 2;
    c->dim[1] = c->in[1]->dim[0];
    c->dim[2] = c->in[0]->dim[0];
    return PF_OK;
}

static pf_status rope_angles_forward(pfi_call *c) {
    turn_angles(c, c->y, c->x[1], c->dim[1], c->dim[2], c->x[0], 0, c->num[0]);
    return PF_OK;
}

static const pf_param rope_angles_params[] = {{.name = "inv_freq", .kind = PF_KIND_CONSTANT},
                                              {.name = "position", .kind = PF_KIND_TOKEN},
                                              {.name = "factor", .kind = PF_KIND_NUMBER, .optional = true, .value = 1}};
static const int32_t rope_angles_many[300] = {[1] = 1, [2] = 2, [299] = 4000};
static const pfi_case rope_angles_cases[] = {
    {.dim = {PFI_S1(3), PFI_S1(2)}, .ints = {NULL, (const int32_t[]){3, 2}}},
    {.dim = {PFI_S1(2), PFI_S1(3)}, .ints = {NULL, (const int32_t[]){0, 1, 7}}, .args = "factor=1.5"},
    {.dim = {PFI_S1(9), PFI_S1(300)}, .ints = {NULL, rope_angles_many}},
    {.dim = {PFI_S2(3, 1), PFI_S1(1)}, .ints = {NULL, (const int32_t[]){0}}, .want = PF_SHAPE},
    {.dim = {PFI_S1(3), PFI_S2(1, 1)}, .ints = {NULL, (const int32_t[]){0}}, .want = PF_SHAPE},
};

PFI_OP(rope_angles, PFI_PARAMS(rope_angles_params), PFI_CASES(rope_angles_cases), .flags = PFI_NO_GRAD,
       .shape = rope_angles_shape, .forward = rope_angles_forward,
       PFI_DOC("Angles of a rotary position embedding, to turn many tensors by: cosines and sines [2, T, R/2] of "
               "position[T] * inv_freq[R/2], times factor. No gradient."));
