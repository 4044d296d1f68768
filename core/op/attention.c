#include "kernel/real.h"
#include "op/op.h"

typedef PFK(attention) attention_shape_t;

/* inputs: q k v start parent; numbers: scale window softcap */
static pf_status attention_describe(pfi_call *c, attention_shape_t *a) {
    const pf_tensor *q = c->in[0], *k = c->in[1];
    *a = (attention_shape_t){.T = q->dim[0],
                             .H = q->dim[1],
                             .G = k->dim[1],
                             .D = q->dim[2],
                             .branches = c->in[4]->dim[0],
                             .start = pfi_data(c->in[3]),
                             .parent = pfi_data(c->in[4]),
                             .scale = pfi_given(c->num[0]) ? (pf_real)c->num[0] : 1 / pfr_sqrt((pf_real)q->dim[2]),
                             .window = (int64_t)c->num[1],
                             .cap = (pf_real)c->num[2],
                             .threads = c->ctx->threads};
    for (int64_t b = 0; b < a->branches; b++) {
        if (a->start[b + 1] <= a->start[b] || a->parent[b] >= b || a->parent[b] < -1)
            return pfi_call_fail(c, PF_RANGE, "branch %lld is not a branch of a forest", (long long)b + 1);
        int64_t depth = 0;
        int64_t line = b - 1; /* depth first: a branch continues one on the way to the branch before it */
        while (line >= 0 && line != a->parent[b]) line = a->parent[line];
        if (line != a->parent[b])
            return pfi_call_fail(c, PF_RANGE, "branch %lld does not stand in depth-first order", (long long)b + 1);
        for (int64_t up = b; up >= 0; up = a->parent[up]) depth += a->start[up + 1] - a->start[up];
        a->longest = PFI_MAX(a->longest, depth);
    }
    if (a->branches < 1 || a->start[0] != 0 || a->start[a->branches] != a->T)
        return pfi_call_fail(c, PF_RANGE, "the branches must cover all %lld tokens", (long long)a->T);
    return PF_OK;
}

static pf_status attention_shape(pfi_call *c) {
    const pf_tensor *q = c->in[0], *k = c->in[1];
    for (int i = 0; i < 3; i++) PF_TRY(pfi_need_ndim(c, i, 3));
    for (int i = 3; i < 5; i++) PF_TRY(pfi_need_ndim(c, i, 1));
    PF_TRY(pfi_need_shape(c, 2, 3, k->dim));
    if (k->dim[0] != q->dim[0] || k->dim[2] != q->dim[2] || k->dim[1] < 1 || q->dim[1] < 1 || q->dim[2] < 1 ||
        q->dim[1] % k->dim[1])
        return pfi_call_fail(c, PF_SHAPE,
                             "q has shape %s, k has shape %s; they must agree but for the heads, and q's "
                             "heads be a multiple of k's",
                             PFI_SHAPE_TEXT(q), PFI_SHAPE_TEXT(k));
    PF_TRY(pfi_need_shape(c, 3, 1, (int64_t[]){c->in[4]->dim[0] + 1}));
    attention_shape_t a;
    PF_TRY(attention_describe(c, &a));
    c->scratch_bytes = PFK(attention_scratch)(&a);
    c->saved_bytes[0] = (size_t)(a.H * a.T) * sizeof(pf_real);
    return pfi_shape_like(c, 0);
}

static pf_status attention_forward(pfi_call *c) {
    attention_shape_t a;
    PF_TRY(attention_describe(c, &a));
    PFK(attention_forward)(c->y, c->saved[0], c->x[0], c->x[1], c->x[2], &a, c->scratch);
    return PF_OK;
}

static pf_status attention_backward(pfi_call *c) {
    attention_shape_t a;
    PF_TRY(attention_describe(c, &a));
    int now = a.threads; /* there is scratch for as many threads as forward had */
    a.threads = 1;
    a.threads = PFI_MIN(now, (int)(c->scratch_bytes / PFK(attention_scratch)(&a)));
    PFK(attention_backward)
    (c->dx[0], c->dx[1], c->dx[2], c->dy, c->y, c->saved[0], c->x[0], c->x[1], c->x[2], &a, c->scratch);
    return PF_OK;
}

/* two products of a score's size forward, four backward */
static double attention_flops(pfi_call *c, bool backward) {
    attention_shape_t a;
    return attention_describe(c, &a) == PF_OK ? (backward ? 8 : 4) * PFK(attention_pairs)(&a) * (double)(a.H * a.D) : 0;
}

static const pf_param attention_params[] = {
    {.name = "q", .kind = PF_KIND_TENSOR},
    {.name = "k", .kind = PF_KIND_TENSOR},
    {.name = "v", .kind = PF_KIND_TENSOR},
    {.name = "start", .kind = PF_KIND_TOKEN},
    {.name = "parent", .kind = PF_KIND_TOKEN},
    {.name = "scale", .kind = PF_KIND_NUMBER, .optional = true, .value = (double)NAN},
    {.name = "window", .kind = PF_KIND_INTEGER, .optional = true},
    {.name = "softcap", .kind = PF_KIND_NUMBER, .optional = true}};
static const int32_t attention_start[] = {0, 2, 4, 5, 7}, attention_parent[] = {-1, 0, 0, -1},
                     attention_line[] = {0, 5};
static const pfi_case attention_cases[] = {
    {.dim = {PFI_S3(7, 4, 3), PFI_S3(7, 2, 3), PFI_S3(7, 2, 3), PFI_S1(5), PFI_S1(4)},
     .ints = {NULL, NULL, NULL, attention_start, attention_parent}},
    {.dim = {PFI_S3(5, 2, 4), PFI_S3(5, 2, 4), PFI_S3(5, 2, 4), PFI_S1(2), PFI_S1(1)},
     .ints = {NULL, NULL, NULL, attention_line, attention_parent},
     .args = "scale=0.7 window=2"},
    {.dim = {PFI_S3(7, 4, 3), PFI_S3(7, 2, 3), PFI_S3(7, 2, 3), PFI_S1(5), PFI_S1(4)},
     .ints = {NULL, NULL, NULL, attention_start, attention_parent},
     .lo = -2,
     .hi = 2,
     .args = "window=3 softcap=1.5"},
    {.dim = {PFI_S3(5, 3, 4), PFI_S3(5, 2, 4), PFI_S3(5, 2, 4), PFI_S1(2), PFI_S1(1)},
     .ints = {NULL, NULL, NULL, attention_line, attention_parent},
     .want = PF_SHAPE},
    {.dim = {PFI_S3(6, 2, 4), PFI_S3(6, 2, 4), PFI_S3(6, 2, 4), PFI_S1(2), PFI_S1(1)},
     .ints = {NULL, NULL, NULL, attention_line, attention_parent},
     .want = PF_RANGE},
};

PFI_OP(attention, PFI_PARAMS(attention_params), PFI_CASES(attention_cases), .shape = attention_shape,
       .forward = attention_forward, .backward = attention_backward, .flops = attention_flops,
       PFI_DOC("Causal attention on a token forest. q[T,H,D], k and v[T,G,D] with H a multiple of G; branch b is the "
               "nodes start[b] to start[b+1]-1 and continues branch parent[b] (-1: a root); both count from 0. A token "
               "sees its ancestors and itself, at most window of them if window > 0. scale: 1/sqrt(D) if not given; "
               "softcap c > 0: scores s become c tanh(s / c). "
               "Result [T,H,D]."));
