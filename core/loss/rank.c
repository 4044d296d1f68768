#include "loss/boundary.h"

enum { RANK_SCORES, RANK_RANKS };
enum { RANK_CONSTRAINT, RANK_BETA, RANK_DETACH };

static pf_status rank_shape(pfi_call *c) {
    PF_TRY(loss_list_shape(c, RANK_SCORES, 1));
    if (c->in[RANK_RANKS]) PF_TRY(pfi_need_shape(c, RANK_RANKS, 1, c->in[RANK_SCORES]->dim));
    PF_TRY(boundary_check(c, c->num[RANK_BETA]));
    c->saved_bytes[0] = 3 * (size_t)loss_count(c, RANK_SCORES) * sizeof(double); /* scores, ranks, room for slopes */
    return PF_OK;
}

static boundary rank_group(const pfi_call *c) {
    int64_t k = loss_count(c, RANK_SCORES);
    double *s = c->saved[0], *rank = s + k;
    for (int64_t i = 0; i < k; i++) {
        s[i] = loss_at(c, RANK_SCORES, i);
        rank[i] = loss_value(c, RANK_RANKS, i, (double)i);
    }
    return (boundary){k, s, rank, (int)c->num[RANK_CONSTRAINT], c->num[RANK_BETA], c->num[RANK_DETACH] != 0};
}

static pf_status rank_forward(pfi_call *c) {
    boundary b = rank_group(c);
    *(pf_real *)c->y = (pf_real)boundary_loss(&b);
    return PF_OK;
}

static pf_status rank_backward(pfi_call *c) {
    boundary b = rank_group(c);
    double dy = (double)*(const pf_real *)c->dy, *d = (double *)c->saved[0] + 2 * b.k;
    pf_real *dx = c->dx[RANK_SCORES];
    boundary_slopes(&b, d);
    for (int64_t i = 0; i < b.k; i++) dx[i] += (pf_real)(dy * d[i]);
    return PF_OK;
}

static pf_status rank_metrics(pfi_call *c) {
    boundary b = rank_group(c);
    boundary_metrics(c, &b);
    return PF_OK;
}

static const pf_param rank_params[] = {
    {.name = "scores", .kind = PF_KIND_TENSOR},
    {.name = "ranks", .kind = PF_KIND_CONSTANT, .optional = true},
    {.name = "constraint", .kind = PF_KIND_CHOICE, .optional = true, .choices = BOUNDARY_CHOICES},
    {.name = "beta", .kind = PF_KIND_NUMBER, .optional = true, .value = 0.15},
    {.name = "detach_T", .kind = PF_KIND_BOOLEAN, .optional = true, .value = 1},
};

static const double rank_ranks[] = {2, 1, 3, 2};
#define RANK_CASE(text)                                                                                                \
    { .dim = {PFI_S1(4), PFI_S1(4)}, .reals = {[RANK_RANKS] = rank_ranks}, .args = (text) }
/* as in align.c: the forms without constants */
static const pfi_case rank_cases[] = {
    RANK_CASE("constraint=none"),
    RANK_CASE("constraint=boundary detach_T=0"),
    {.dim = {PFI_S1(4)}, .args = "detach_T=0 beta=0.3"},
    {.dim = {PFI_S1(4)}, .args = "beta=-1", .want = PF_RANGE},
    {.dim = {PFI_S1(4), PFI_S1(3)}, .want = PF_SHAPE},
    {.dim = {PFI_S1(0)}, .want = PF_SHAPE},
};

PFI_LOSS_OP(
    rank, PFI_PARAMS(rank_params), PFI_CASES(rank_cases), .shape = rank_shape, .forward = rank_forward,
    .backward = rank_backward, .metrics = rank_metrics,
    PFI_LOSS_DOC(
        "log(1 + sum over i better than j of [e^(s_j - s_i) + e^(T_ij - s_j)]), T_ij = 2 min_{l better than j} s_l "
        "- 2 beta - s_i",
        "Wang et al. 2023 (AFT), arXiv 2309.02144, ranking version, rebuilt so that two classes give align",
        "Alignment fine-tuning on a ranking of K answers of one question. scores[K]: mean log-probabilities per "
        "token in nats. ranks[K]: 1 is best, equal ranks are not compared; left out, the answers stand best first. "
        "constraint, beta, detach_T: as in align. Result: one value."));
