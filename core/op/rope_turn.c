#include "op/turn.h"

static pf_status rope_turn_shape(pfi_call *c) {
    const pf_tensor *x = c->in[0], *angles = c->in[1];
    PF_TRY(pfi_need_ndim(c, 0, 3));
    PF_TRY(pfi_need_ndim(c, 1, 3));
    PF_TRY(pfi_need_shape(c, 1, 3, (int64_t[]){2, x->dim[0], angles->dim[2]}));
    if (2 * angles->dim[2] > x->dim[2])
        return pfi_call_fail(c, PF_SHAPE, "angles turn %lld channels, x has %lld per head",
                             (long long)(2 * angles->dim[2]), (long long)x->dim[2]);
    return pfi_shape_like(c, 0);
}

static pf_status rope_turn_forward(pfi_call *c) {
    turn_pairs(c, c->y, c->x[0], c->x[1], c->in[1]->dim[2], 1, false);
    return PF_OK;
}

static pf_status rope_turn_backward(pfi_call *c) {
    turn_pairs(c, c->dx[0], c->dy, c->x[1], c->in[1]->dim[2], -1, true);
    return PF_OK;
}

static const pf_param rope_turn_params[] = {{.name = "x", .kind = PF_KIND_TENSOR},
                                            {.name = "angles", .kind = PF_KIND_CONSTANT}};
static const pfi_case rope_turn_cases[] = {
    {.dim = {PFI_S3(3, 2, 4), PFI_S3(2, 3, 2)}},
    {.dim = {PFI_S3(2, 2, 7), PFI_S3(2, 2, 2)}},
    {.dim = {PFI_S3(150, 15, 18), PFI_S3(2, 150, 9)}},
    {.dim = {PFI_S3(2, 1, 3), PFI_S3(2, 2, 2)}, .want = PF_SHAPE},
    {.dim = {PFI_S3(2, 1, 4), PFI_S3(2, 3, 2)}, .want = PF_SHAPE},
    {.dim = {PFI_S3(2, 1, 4), PFI_S2(2, 2)}, .want = PF_SHAPE},
};

PFI_OP(
    rope_turn, PFI_PARAMS(rope_turn_params), PFI_CASES(rope_turn_cases), PFI_STAGES(rope_turn),
    .unread = 1u << 0 | 1u << PFI_RESULT,
    PFI_DOC("Rotary position embedding by given angles[2, T, R/2], as rope_angles makes them: channels j and j + R/2 "
            "of x[T, H, D] turn; channels from R on stay as they are."));
