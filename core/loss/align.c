#include "loss/boundary.h"

enum { ALIGN_POSITIVE, ALIGN_NEGATIVE };
enum { ALIGN_CONSTRAINT, ALIGN_BETA, ALIGN_DETACH };

static pf_status align_shape(pfi_call *c) {
    PF_TRY(loss_list_shape(c, ALIGN_POSITIVE, 0));
    PF_TRY(loss_list_shape(c, ALIGN_NEGATIVE, 0));
    PF_TRY(boundary_check(c, c->num[ALIGN_BETA]));
    size_t k = (size_t)(loss_count(c, ALIGN_POSITIVE) + loss_count(c, ALIGN_NEGATIVE));
    c->saved_bytes[0] = (3 * k + 1) * sizeof(double); /* scores, ranks, room for slopes */
    return PF_OK;
}

/* the two groups as one list with ranks 0 and 1 */
static boundary align_group(const pfi_call *c) {
    int64_t p = loss_count(c, ALIGN_POSITIVE), k = p + loss_count(c, ALIGN_NEGATIVE);
    double *s = c->saved[0], *rank = s + k;
    for (int64_t i = 0; i < k; i++) {
        s[i] = i < p ? loss_at(c, ALIGN_POSITIVE, i) : loss_at(c, ALIGN_NEGATIVE, i - p);
        rank[i] = i < p ? 0 : 1;
    }
    return (boundary){k, s, rank, (int)c->num[ALIGN_CONSTRAINT], c->num[ALIGN_BETA], c->num[ALIGN_DETACH] != 0};
}

static pf_status align_forward(pfi_call *c) {
    boundary b = align_group(c);
    *(pf_real *)c->y = (pf_real)boundary_loss(&b);
    return PF_OK;
}

static pf_status align_backward(pfi_call *c) {
    boundary b = align_group(c);
    double dy = (double)*(const pf_real *)c->dy, *d = (double *)c->saved[0] + 2 * b.k;
    int64_t p = loss_count(c, ALIGN_POSITIVE);
    pf_real *dp = c->dx[ALIGN_POSITIVE], *dn = c->dx[ALIGN_NEGATIVE];
    boundary_slopes(&b, d);
    for (int64_t i = 0; dp && i < p; i++) dp[i] += (pf_real)(dy * d[i]);
    for (int64_t i = p; dn && i < b.k; i++) dn[i - p] += (pf_real)(dy * d[i]);
    return PF_OK;
}

static pf_status align_metrics(pfi_call *c) {
    static const char *const names[] = {"logps/chosen", "logps/rejected"};
    for (int side = 0; side < 2; side++) {
        double sum = 0, n = (double)loss_count(c, side);
        for (int64_t i = 0; i < loss_count(c, side); i++) sum += loss_at(c, side, i);
        if (n > 0) pfi_metric(c, names[side], sum / n);
    }
    boundary b = align_group(c);
    boundary_metrics(c, &b);
    return PF_OK;
}

static const pf_param align_params[] = {
    {.name = "positive", .kind = PF_KIND_TENSOR},
    {.name = "negative", .kind = PF_KIND_TENSOR},
    {.name = "constraint", .kind = PF_KIND_CHOICE, .optional = true, .choices = BOUNDARY_CHOICES},
    {.name = "beta", .kind = PF_KIND_NUMBER, .optional = true, .value = 0.15},
    {.name = "detach_T", .kind = PF_KIND_BOOLEAN, .optional = true, .value = 1},
};

/* finite differences cannot see through a constant, so the harness gets the forms without one; the others have tests
 * of their own */
static const pfi_case align_cases[] = {
    {.dim = {PFI_S1(2), PFI_S1(3)}, .args = "constraint=none"},
    {.dim = {PFI_S1(1), PFI_S1(1)}, .args = "constraint=none"},
    {.dim = {PFI_S1(3), PFI_S1(2)}, .args = "constraint=boundary detach_T=0"},
    {.dim = {PFI_S1(2), PFI_S1(2)}, .args = "constraint=boundary detach_T=0 beta=0"},
    {.dim = {PFI_S1(2), PFI_S1(2)}, .args = "beta=-0.1", .want = PF_RANGE},
    {.dim = {PFI_S2(2, 1), PFI_S1(2)}, .want = PF_SHAPE},
    {.dim = {PFI_S1(2), PFI_S0}, .want = PF_SHAPE},
};

PFI_LOSS_OP(
    align, PFI_PARAMS(align_params), PFI_CASES(align_cases), .shape = align_shape, .forward = align_forward,
    .backward = align_backward, .metrics = align_metrics,
    PFI_LOSS_DOC(
        "log(1 + sum_p sum_n [e^(s_n - s_p) + e^(T_p - s_n)]), T_p = 2 min s_p - 2 beta - s_p",
        "Wang et al. 2023 (AFT), arXiv 2309.02144, section 4.3; none: the first term; detached: the first term, s_n"
        " constant",
        "Alignment fine-tuning of one question. positive[P], negative[N]: scores s_p of right and s_n of wrong "
        "answers, mean log-probabilities per token in nats. boundary stops pushing a wrong answer down once it is "
        "beta below the weakest right one; T is constant unless detach_T is false. Without right or without wrong "
        "answers the loss is 0. The paper adds the nll of the reference answer. Result: one value."));
