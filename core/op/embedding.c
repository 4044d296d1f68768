#include "op/zip.h"

static pf_status embedding_shape(pfi_call *c) {
    PF_TRY(pfi_need_ndim(c, 0, 2));
    PF_TRY(pfi_need_ndim(c, 1, 1));
    int64_t V = c->in[0]->dim[0], T = c->in[1]->dim[0];
    const int32_t *id = pfi_i32(c->in[1]);
    for (int64_t t = 0; t < T; t++)
        if (id[t] < 0 || id[t] >= V)
            return pfi_call_fail(c, PF_RANGE, "ids has token %d at place %lld, but w has %lld rows: ids are 0 to %lld",
                                 (int)id[t], (long long)t + 1, (long long)V, (long long)V - 1);
    c->nd = 2;
    c->dim[0] = T;
    c->dim[1] = c->in[0]->dim[1];
    c->scratch_back_bytes = PFK(scatter_rows_scratch)(T, V);
    return PF_OK;
}

static pf_status embedding_forward(pfi_call *c) {
    PFK(gather_rows)(c->ctx->threads, c->y, c->in[0]->dtype, c->x[0], c->x[1], c->dim[0], c->dim[1]);
    return PF_OK;
}

static pf_status embedding_backward(pfi_call *c) {
    PFK(scatter_rows)(c->ctx->threads, c->dx[0], c->dy, c->x[1], c->dim[0], c->in[0]->dim[0], c->dim[1], c->scratch);
    return PF_OK;
}

static const pf_param embedding_params[] = {{.name = "w", .kind = PF_KIND_TENSOR},
                                            {.name = "ids", .kind = PF_KIND_TOKEN}};
static const int32_t embedding_many[600] = {[7] = 3, [8] = 3, [99] = 2, [300] = 1, [599] = 9};
static const pfi_case embedding_cases[] = {
    {.dim = {PFI_S2(4, 3), PFI_S1(5)}, .ints = {NULL, (const int32_t[]){2, 0, 2, 3, 2}}},
    {.dim = {PFI_S2(3, 70), PFI_S1(2)}, .ints = {NULL, (const int32_t[]){1, 1}}},
    {.dim = {PFI_S2(10, 70), PFI_S1(600)}, .ints = {NULL, embedding_many}},
    {.dim = {PFI_S2(4, 3), PFI_S1(2)}, .ints = {NULL, (const int32_t[]){0, 4}}, .want = PF_RANGE},
    {.dim = {PFI_S2(4, 3), PFI_S1(1)}, .ints = {NULL, (const int32_t[]){-1}}, .want = PF_RANGE},
    {.dim = {PFI_S1(4), PFI_S1(1)}, .ints = {NULL, (const int32_t[]){0}}, .want = PF_SHAPE},
};

PFI_OP(embedding, PFI_PARAMS(embedding_params), PFI_CASES(embedding_cases), PFI_STAGES(embedding), .stored = 1u << 0,
       .unread = 1u << PFI_RESULT,
       PFI_DOC("The rows of w[V, C] that ids[T] name; result [T, C]. An id outside 0..V-1 is an error. w may be "
               "a frozen weight in a storage type."));
