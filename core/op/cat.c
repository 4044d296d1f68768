#include "op/zip.h"

static pf_status cat_shape(pfi_call *c) {
    const pf_tensor *x = c->in[0], *y = c->in[1];
    int dim = 0;
    PF_TRY(pfi_dim_arg(c, 0, x->nd, &dim));
    c->num[0] = dim;
    int64_t want[PF_MAX_DIMS];
    for (int i = 0; i < x->nd; i++) want[i] = i == dim && i < y->nd ? y->dim[i] : x->dim[i];
    PF_TRY(pfi_need_shape(c, 1, x->nd, want));
    PF_TRY(pfi_shape_like(c, 0));
    c->dim[dim] += y->dim[dim];
    return PF_OK;
}

/* values of input that stand together in the result, and where they begin there */
static int64_t cat_run(const pfi_call *c, int input, int64_t *all, int64_t *start) {
    int64_t inner = 1;
    int dim = (int)c->num[0];
    for (int i = dim + 1; i < c->nd; i++) inner *= c->dim[i];
    *all = c->dim[dim] * inner;
    *start = input ? c->in[0]->dim[dim] * inner : 0;
    return c->in[input]->dim[dim] * inner;
}

static pf_status cat_forward(pfi_call *c) {
    pf_real *y = c->y;
    for (int k = 0; k < 2; k++) {
        int64_t all, start, run = cat_run(c, k, &all, &start), n = (int64_t)pfi_numel(c->in[k]);
        const pf_real *x = c->x[k];
        for (int64_t at = 0, row = 0; at < n; at += run, row++)
            memcpy(y + row * all + start, x + at, (size_t)run * sizeof *y);
    }
    return PF_OK;
}

static pf_status cat_backward(pfi_call *c) {
    const pf_real *dy = c->dy;
    for (int k = 0; k < 2; k++) {
        int64_t all, start, run = cat_run(c, k, &all, &start), n = (int64_t)pfi_numel(c->in[k]);
        pf_real *dx = c->dx[k];
        for (int64_t at = 0, row = 0; dx && at < n; at += run, row++)
            PFK(accumulate)(c->ctx->threads, dx + at, dy + row * all + start, run);
    }
    return PF_OK;
}

static const pf_param cat_params[] = {{.name = "x", .kind = PF_KIND_TENSOR},
                                      {.name = "y", .kind = PF_KIND_TENSOR},
                                      {.name = "dim", .kind = PF_KIND_DIM, .optional = true, .value = 0}};
static const pfi_case cat_cases[] = {
    {.dim = {PFI_S2(2, 3), PFI_S2(1, 3)}},
    {.dim = {PFI_S3(2, 3, 2), PFI_S3(2, 1, 2)}, .args = "dim=1"},
    {.dim = {PFI_S1(3), PFI_S1(4)}, .args = "dim=-1"},
    {.dim = {PFI_S2(100, 200), PFI_S2(110, 200)}},
    {.dim = {PFI_S2(2, 3), PFI_S2(2, 2)}, .want = PF_SHAPE},
    {.dim = {PFI_S2(2, 3), PFI_S1(3)}, .want = PF_SHAPE},
    {.dim = {PFI_S0, PFI_S0}, .want = PF_RANGE},
};

PFI_OP(cat, PFI_PARAMS(cat_params), PFI_CASES(cat_cases), PFI_STAGES(cat),
       PFI_DOC("x and then y along dimension dim (the first if left out); all other sizes must agree."));
