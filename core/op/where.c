#include "op/zip.h"

/* inputs: mask x y. The mask is repeated to the result's shape first, so that two inputs are left to broadcast. */
static pf_status where_repeat_mask(pfi_call *c) {
    pf_tensor *view = pfi_apply(c->ctx, "expand", &c->in[0], NULL, c->dim, c->nd);
    pf_tensor *full = pfi_apply(c->ctx, "contiguous", &view, NULL, NULL, 0);
    pf_tensor_free(view);
    if (!full) return pf_errcode(c->ctx);
    pf_tensor_free(c->in[0]);
    c->in[0] = full;
    return PF_OK;
}

static pf_status where_shape(pfi_call *c) {
    c->nd = PFI_MAX(c->in[0]->nd, PFI_MAX(c->in[1]->nd, c->in[2]->nd));
    for (int i = 1; i <= c->nd; i++) {
        int64_t *size = &c->dim[c->nd - i];
        *size = 1;
        for (int k = 0; k < 3; k++) {
            const pf_tensor *t = c->in[k];
            int64_t have = i <= t->nd ? t->dim[t->nd - i] : 1;
            if (have != 1 && *size != 1 && have != *size)
                return pfi_call_fail(c, PF_SHAPE, "shapes are mask %s, x %s, y %s; sizes must be equal or 1",
                                     PFI_SHAPE_TEXT(c->in[0]), PFI_SHAPE_TEXT(c->in[1]), PFI_SHAPE_TEXT(c->in[2]));
            if (have != 1) *size = have;
        }
    }
    bool full = c->in[0]->nd == c->nd;
    for (int i = 0; full && i < c->nd; i++) full = c->in[0]->dim[i] == c->dim[i];
    return full ? PF_OK : where_repeat_mask(c);
}

static pf_status where_forward(pfi_call *c) {
    pfi_zip z = zip_inputs(c, 1, 2);
    const pf_real *mask = c->x[0], *a = c->x[1], *b = c->x[2];
    pf_real *y = c->y;
    PFI_ZIP(c, z, y[i] = mask[i] != 0 ? a[ia] : b[ib]);
    return PF_OK;
}

static pf_status where_backward(pfi_call *c) {
    pfi_zip z = zip_inputs(c, 1, 2);
    const pf_real *mask = c->x[0], *dy = c->dy;
    pf_real *da = c->dx[1], *db = c->dx[2];
    if (da) PFI_ZIP_BACK_A(c, z, da, mask[i] != 0 ? dy[i] : 0);
    if (db) PFI_ZIP_BACK_B(c, z, db, mask[i] != 0 ? 0 : dy[i]);
    return PF_OK;
}

static const pf_param where_params[] = {{.name = "mask", .kind = PF_KIND_CONSTANT},
                                        {.name = "x", .kind = PF_KIND_TENSOR},
                                        {.name = "y", .kind = PF_KIND_TENSOR}};
static const double where_mask[] = {1, 0, 0, 2, 0, -1};
static const pfi_case where_cases[] = {
    {.dim = {PFI_S2(2, 3), PFI_S2(2, 3), PFI_S2(2, 3)}, .reals = {where_mask}},
    {.dim = {PFI_S1(6), PFI_S0, PFI_S2(2, 6)}, .reals = {where_mask}},
    {.dim = {PFI_S2(3, 1), PFI_S1(4), PFI_S2(3, 1)}, .reals = {where_mask}},
    {.dim = {PFI_S2(2, 3), PFI_S2(2, 2), PFI_S2(2, 3)}, .want = PF_SHAPE},
};

PFI_OP(where, PFI_PARAMS(where_params), PFI_CASES(where_cases), PFI_STAGES(where),
       PFI_DOC("x where mask is not 0, y where it is; sizes equal or 1 (broadcast)."));
