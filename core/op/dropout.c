#include "op/zip.h"

/* Element i is dropped by word i % 4 of random number i / 4: a pure function of seed, stream and place, so that
 * backward draws again what forward drew. */
static pf_status dropout_shape(pfi_call *c) {
    if (!(c->num[0] >= 0 && c->num[0] < 1))
        return pfi_call_fail(c, PF_RANGE, "p must be at least 0 and below 1, got %g", c->num[0]);
    return pfi_shape_like(c, 0);
}

/* to[n] = or += from[n] / (1 - p) where it is kept */
static void dropout_apply(const pfi_call *c, pf_real *to, const pf_real *from, bool add) {
    const int64_t n = (int64_t)pfi_numel(c->in[0]);
    const uint32_t below = (uint32_t)(c->num[0] * 0x1p32);
    const uint64_t seed = (uint64_t)(int64_t)c->num[1], stream = (uint64_t)(int64_t)c->num[2];
    const pf_real scale = (pf_real)(1 / (1 - c->num[0]));
    PFI_EACH_OF(c, (n + 3) / 4, 40, {
        uint32_t word[4];
        pfi_random_u32x4(seed, stream, (uint64_t)i, word);
        for (int64_t k = 4 * i; k < PFI_MIN(4 * i + 4, n); k++) {
            const pf_real kept = word[k - 4 * i] < below ? 0 : scale * from[k];
            to[k] = add ? to[k] + kept : kept;
        }
    });
}

static pf_status dropout_forward(pfi_call *c) {
    dropout_apply(c, c->y, c->x[0], false);
    return PF_OK;
}

static pf_status dropout_backward(pfi_call *c) {
    dropout_apply(c, c->dx[0], c->dy, true);
    return PF_OK;
}

static const pf_param dropout_params[] = {{.name = "x", .kind = PF_KIND_TENSOR},
                                          {.name = "p", .kind = PF_KIND_NUMBER, .optional = true, .value = 0.5},
                                          {.name = "seed", .kind = PF_KIND_INTEGER, .optional = true, .value = 0},
                                          {.name = "stream", .kind = PF_KIND_INTEGER, .optional = true, .value = 0}};
static const pfi_case dropout_cases[] = {
    {.dim = {PFI_S2(3, 7)}},
    {.dim = {PFI_S1(30)}, .args = "p=0.25 seed=3 stream=9"},
    {.dim = {PFI_S1(5)}, .args = "p=0"},
    {.dim = {PFI_S2(200, 201)}, .args = "p=0.1 seed=5"},
    {.dim = {PFI_S1(5)}, .args = "p=1", .want = PF_RANGE},
    {.dim = {PFI_S1(5)}, .args = "p=-0.1", .want = PF_RANGE},
};

PFI_OP(dropout, PFI_PARAMS(dropout_params), PFI_CASES(dropout_cases), PFI_STAGES(dropout),
       .unread = 1u << 0 | 1u << PFI_RESULT,
       PFI_DOC("Each element of x is 0 with probability p, else x / (1 - p): drawn from seed, stream and place alone "
               "(Srivastava et al. 2014). Result like x."));
