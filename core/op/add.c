#include "op/zip.h"

static pf_status add_forward(pfi_call *c) {
    pfi_zip z = zip_of(c);
    const pf_real *a = c->x[0], *b = c->x[1];
    pf_real *y = c->y;
    PFI_ZIP(c, z, y[i] = a[ia] + b[ib]);
    return PF_OK;
}

static void add_side(pfi_call *c, int side) {
    pfi_zip z = zip_of(c);
    const int64_t n = (int64_t)pfi_numel(c->in[side]);
    const pf_real *dy = c->dy;
    pf_real *dx = c->dx[side];
    if (c->fresh[side] && z.flat)
        PFK(copy)(c->ctx->threads, dx, dy, n);
    else if (c->fresh[side])
        memset(dx, 0, (size_t)n * sizeof *dx);
    if (c->fresh[side] && z.flat) return;
    if (side == 0)
        PFI_ZIP_BACK_A(c, z, dx, dy[i]);
    else
        PFI_ZIP_BACK_B(c, z, dx, dy[i]);
}

static pf_status add_backward(pfi_call *c) {
    for (int side = 0; side < 2; side++)
        if (c->dx[side]) add_side(c, side);
    return PF_OK;
}

static const pf_param add_params[] = PFI_ZIP_PARAMS;
static const pfi_case add_cases[] = {PFI_ZIP_CASES(-1, 1)};

PFI_OP(add, PFI_PARAMS(add_params), PFI_CASES(add_cases), .shape = pfi_shape_broadcast, .forward = add_forward,
       .backward = add_backward, .writes = 3, .passes = 3, .unread = 1u << 0 | 1u << 1 | 1u << PFI_RESULT,
       PFI_DOC("x + y, element by element. Sizes equal or 1 (broadcast)."));
