#include "op/zip.h"

static int64_t index_row(const pfi_call *c) {
    int64_t n = 1;
    for (int i = 1; i < c->in[0]->nd; i++) n *= c->in[0]->dim[i];
    return n;
}

static pf_status index_shape(pfi_call *c) {
    const pf_tensor *x = c->in[0];
    if (x->nd < 1) return pfi_call_fail(c, PF_SHAPE, "x must have at least one dimension");
    PF_TRY(pfi_need_ndim(c, 1, 1));
    const int32_t *at = pfi_i32(c->in[1]);
    for (int64_t i = 0; i < c->in[1]->dim[0]; i++)
        if (at[i] < 0 || at[i] >= x->dim[0])
            return pfi_call_fail(c, PF_RANGE, "value %lld of at asks for row %lld of %lld (counted from 1)",
                                 (long long)i + 1, (long long)at[i] + 1, (long long)x->dim[0]);
    PF_TRY(pfi_shape_like(c, 0));
    c->dim[0] = c->in[1]->dim[0];
    c->scratch_back_bytes = PFK(scatter_rows_scratch)(c->dim[0], x->dim[0]);
    return PF_OK;
}

static pf_status index_forward(pfi_call *c) {
    PFK(gather_rows)(c->ctx->threads, c->y, PFI_DTYPE, c->x[0], c->x[1], c->dim[0], index_row(c));
    return PF_OK;
}

static pf_status index_backward(pfi_call *c) {
    PFK(scatter_rows)(c->ctx->threads, c->dx[0], c->dy, c->x[1], c->dim[0], c->in[0]->dim[0], index_row(c), c->scratch);
    return PF_OK;
}

static const pf_param index_params[] = {{.name = "x", .kind = PF_KIND_TENSOR}, {.name = "at", .kind = PF_KIND_INDEX}};
static const int32_t index_many[500] = {[1] = 3, [2] = 3, [250] = 2, [499] = 4};
static const pfi_case index_cases[] = {
    {.dim = {PFI_S1(5), PFI_S1(4)}, .ints = {NULL, (const int32_t[]){4, 0, 4, 2}}},
    {.dim = {PFI_S3(3, 2, 2), PFI_S1(2)}, .ints = {NULL, (const int32_t[]){2, 1}}},
    {.dim = {PFI_S2(5, 80), PFI_S1(500)}, .ints = {NULL, index_many}},
    {.dim = {PFI_S1(5), PFI_S1(1)}, .ints = {NULL, (const int32_t[]){5}}, .want = PF_RANGE},
    {.dim = {PFI_S1(5), PFI_S1(1)}, .ints = {NULL, (const int32_t[]){-1}}, .want = PF_RANGE},
    {.dim = {PFI_S0, PFI_S1(1)}, .ints = {NULL, (const int32_t[]){0}}, .want = PF_SHAPE},
};

PFI_OP(
    index, PFI_PARAMS(index_params), PFI_CASES(index_cases), PFI_STAGES(index),
    PFI_DOC("The rows of x, along its first dimension, that stand at the positions at[K]. x[N, ...]; result [K, ...]. "
            "A position may come several times."));
