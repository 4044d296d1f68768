#include "kernel/real.h"
#include "op/op.h"

/* saved[0]: scale x a^T, [rows, r] */
static PFK(lora) lora_of(const pfi_call *c) {
    const pf_tensor *a = c->in[2], *b = c->in[3];
    return (PFK(lora)){.rows = pfi_matrix_rows(c->in[1]),
                       .r = a->dim[0],
                       .in = a->dim[1],
                       .out = b->dim[0],
                       .x = c->x[1],
                       .a = c->x[2],
                       .b = c->x[3],
                       .scale = (pf_real)c->num[0],
                       .threads = c->ctx->threads};
}

static pf_status lora_shape(pfi_call *c) {
    const pf_tensor *y = c->in[0], *x = c->in[1];
    PF_TRY(pfi_need_ndim(c, 2, 2));
    const int64_t r = c->in[2]->dim[0], in = c->in[2]->dim[1];
    if (x->nd < 1 || x->dim[x->nd - 1] != in)
        return pfi_call_fail(c, PF_SHAPE, "a has shape %s, so x must end in %lld channels, got shape %s",
                             PFI_SHAPE_TEXT(c->in[2]), (long long)in, PFI_SHAPE_TEXT(x));
    PF_TRY(pfi_need_ndim(c, 0, x->nd));
    const int64_t out = y->dim[y->nd - 1];
    PF_TRY(pfi_need_shape(c, 3, 2, (int64_t[]){out, r}));
    int64_t want[PF_MAX_DIMS];
    memcpy(want, x->dim, sizeof want);
    want[x->nd - 1] = out;
    PF_TRY(pfi_need_shape(c, 0, x->nd, want));
    const PFK(lora) l = lora_of(c);
    c->saved_bytes[0] = (size_t)(l.rows * r) * sizeof(pf_real);
    c->scratch_back_bytes = PFK(lora_scratch)(&l);
    return pfi_shape_like(c, 0);
}

static pf_status lora_forward(pfi_call *c) {
    const PFK(lora) l = lora_of(c);
    PFK(lora_forward)(&l, c->y, c->saved[0], c->x[0]);
    return PF_OK;
}

static pf_status lora_backward(pfi_call *c) {
    const PFK(lora) l = lora_of(c);
    PFK(lora_backward)(&l, (pf_real *const *)c->dx, c->fresh, c->dy, c->saved[0], c->scratch);
    return PF_OK;
}

static double lora_flops(pfi_call *c, bool backward) {
    const double once = 2 * (double)pfi_matrix_rows(c->in[1]), a = once * (double)pfi_numel(c->in[2]),
                 b = once * (double)pfi_numel(c->in[3]);
    if (!backward) return a + b;
    return a * (c->wants[1] + c->wants[2]) + b * ((c->wants[1] || c->wants[2]) + c->wants[3]);
}

static const pf_param lora_params[] = {{.name = "y", .kind = PF_KIND_TENSOR},
                                       {.name = "x", .kind = PF_KIND_TENSOR},
                                       {.name = "a", .kind = PF_KIND_TENSOR},
                                       {.name = "b", .kind = PF_KIND_TENSOR},
                                       {.name = "scale", .kind = PF_KIND_NUMBER, .optional = true, .value = 1}};
static const pfi_case lora_cases[] = {
    {.dim = {PFI_S2(5, 4), PFI_S2(5, 3), PFI_S2(2, 3), PFI_S2(4, 2)}},
    {.dim = {PFI_S3(2, 3, 5), PFI_S3(2, 3, 4), PFI_S2(1, 4), PFI_S2(5, 1)}, .args = "scale=-2.5"},
    {.dim = {PFI_S1(2), PFI_S1(3), PFI_S2(3, 3), PFI_S2(2, 3)}, .args = "scale=0.5"},
    {.dim = {PFI_S2(200, 130), PFI_S2(200, 120), PFI_S2(8, 120), PFI_S2(130, 8)}, .args = "scale=2"},
    {.dim = {PFI_S2(200, 130), PFI_S2(200, 120), PFI_S2(20, 120), PFI_S2(130, 20)}},
    {.dim = {PFI_S2(5, 4), PFI_S2(5, 0), PFI_S2(2, 0), PFI_S2(4, 2)}},
    {.dim = {PFI_S2(1100, 20), PFI_S2(1100, 30), PFI_S2(2, 30), PFI_S2(20, 2)}},
    {.dim = {PFI_S2(5, 4), PFI_S2(5, 2), PFI_S2(2, 3), PFI_S2(4, 2)}, .want = PF_SHAPE},
    {.dim = {PFI_S2(5, 4), PFI_S2(5, 3), PFI_S2(2, 3), PFI_S2(4, 3)}, .want = PF_SHAPE},
    {.dim = {PFI_S2(6, 4), PFI_S2(5, 3), PFI_S2(2, 3), PFI_S2(4, 2)}, .want = PF_SHAPE},
};

PFI_OP(lora, PFI_PARAMS(lora_params), PFI_CASES(lora_cases), .shape = lora_shape, .forward = lora_forward,
       .backward = lora_backward, .writes = 15, .passes = 1, .unread = 1u << 0 | 1u << PFI_RESULT, .flops = lora_flops,
       PFI_DOC("y + scale x a^T b^T: what a low-rank adapter adds to a product (Hu et al. 2021). y[..., out], x[..., "
               "in], a[r, in], b[out, r]; result like y."));
