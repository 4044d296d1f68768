#include "loss/loss.h"

enum { ADVANTAGE_LOGP, ADVANTAGE_STEP, ADVANTAGE_OF };
enum { ADVANTAGE_TEMPERATURE, ADVANTAGE_W_MAX, ADVANTAGE_SEQUENCES };

static pf_status advantage_shape(pfi_call *c) {
    PF_TRY(loss_list_shape(c, ADVANTAGE_LOGP, 0));
    PF_TRY(pfi_need_shape(c, ADVANTAGE_STEP, 1, c->in[ADVANTAGE_LOGP]->dim));
    PF_TRY(pfi_need_ndim(c, ADVANTAGE_OF, 1));
    PF_TRY(loss_need_positive(c, "temperature", c->num[ADVANTAGE_TEMPERATURE]));
    PF_TRY(loss_need_positive(c, "w_max", c->num[ADVANTAGE_W_MAX]));
    PF_TRY(loss_need_positive(c, "sequences", c->num[ADVANTAGE_SEQUENCES]));
    c->saved_bytes[0] = ((size_t)loss_count(c, ADVANTAGE_OF) + 1) * sizeof(double);
    return PF_OK;
}

/* saved[0]: the steps' weights over the number of sequences */
static void advantage_weights(pfi_call *c) {
    double *w = c->saved[0];
    for (int64_t i = 0; i < loss_count(c, ADVANTAGE_OF); i++) {
        double x = exp(loss_at(c, ADVANTAGE_OF, i) / c->num[ADVANTAGE_TEMPERATURE]), top = c->num[ADVANTAGE_W_MAX];
        w[i] = (x > top ? top : x) / c->num[ADVANTAGE_SEQUENCES];
    }
}

static pf_status advantage_forward(pfi_call *c) {
    const int32_t *step = c->x[ADVANTAGE_STEP];
    int64_t steps = loss_count(c, ADVANTAGE_OF);
    const double *w = c->saved[0];
    double sum = 0;
    advantage_weights(c);
    for (int64_t t = 0; t < loss_count(c, ADVANTAGE_LOGP); t++) {
        if (step[t] == -1) continue;
        if (step[t] < -1 || step[t] >= steps)
            return pfi_call_fail(c, PF_RANGE, "token %lld belongs to step %lld, but advantage has %lld values",
                                 (long long)t + 1, (long long)step[t] + 1, (long long)steps);
        sum -= w[step[t]] * loss_at(c, ADVANTAGE_LOGP, t);
    }
    *(pf_real *)c->y = (pf_real)sum;
    return PF_OK;
}

static pf_status advantage_backward(pfi_call *c) {
    const int32_t *step = c->x[ADVANTAGE_STEP];
    const double *w = c->saved[0];
    double dy = (double)*(const pf_real *)c->dy;
    pf_real *dx = c->dx[ADVANTAGE_LOGP];
    for (int64_t t = 0; t < loss_count(c, ADVANTAGE_LOGP); t++)
        if (step[t] >= 0) dx[t] -= (pf_real)(dy * w[step[t]]);
    return PF_OK;
}

static pf_status advantage_metrics(pfi_call *c) {
    const int32_t *step = c->x[ADVANTAGE_STEP];
    const double *w = c->saved[0];
    double sum = 0, clipped = 0, tokens = 0, top = c->num[ADVANTAGE_W_MAX] / c->num[ADVANTAGE_SEQUENCES];
    for (int64_t t = 0; t < loss_count(c, ADVANTAGE_LOGP); t++) {
        if (step[t] < 0) continue;
        tokens++;
        sum += w[step[t]] * c->num[ADVANTAGE_SEQUENCES];
        clipped += w[step[t]] >= top;
    }
    if (tokens == 0) return PF_OK;
    pfi_metric(c, "weights/mean", sum / tokens);
    pfi_metric(c, "weights/clipped", clipped / tokens);
    return PF_OK;
}

static const pf_param advantage_params[] = {
    {.name = "logp", .kind = PF_KIND_TENSOR},
    {.name = "step", .kind = PF_KIND_INDEX},
    {.name = "advantage", .kind = PF_KIND_CONSTANT},
    {.name = "temperature", .kind = PF_KIND_NUMBER},
    {.name = "w_max", .kind = PF_KIND_NUMBER, .optional = true, .value = 20},
    {.name = "sequences", .kind = PF_KIND_INTEGER, .optional = true, .value = 1},
};

static const int32_t advantage_steps[] = {-1, 0, 0, 2, 1, -1}, advantage_bad_steps[] = {-1, 0, 0, 3, 1, -1};
#define ADVANTAGE_CASE(text, status)                                                                                   \
    {                                                                                                                  \
        .dim = {PFI_S1(6), PFI_S1(6), PFI_S1(3)}, .ints = {[ADVANTAGE_STEP] = advantage_steps}, .args = (text),        \
        .want = (status)                                                                                               \
    }
static const pfi_case advantage_cases[] = {
    ADVANTAGE_CASE("temperature=0.5", PF_OK),
    ADVANTAGE_CASE("temperature=0.2 w_max=1.5 sequences=2", PF_OK),
    ADVANTAGE_CASE("temperature=0", PF_RANGE),
    ADVANTAGE_CASE("temperature=1 w_max=0", PF_RANGE),
    ADVANTAGE_CASE("temperature=1 sequences=0", PF_RANGE),
    {.dim = {PFI_S1(6), PFI_S1(6), PFI_S1(3)},
     .ints = {[ADVANTAGE_STEP] = advantage_bad_steps},
     .args = "temperature=1",
     .want = PF_RANGE},
    {.dim = {PFI_S1(5), PFI_S1(6), PFI_S1(3)},
     .ints = {[ADVANTAGE_STEP] = advantage_steps},
     .args = "temperature=1",
     .want = PF_SHAPE},
};

PFI_LOSS_OP(
    advantage, PFI_PARAMS(advantage_params), PFI_CASES(advantage_cases), .shape = advantage_shape,
    .forward = advantage_forward, .backward = advantage_backward, .metrics = advantage_metrics,
    PFI_LOSS_DOC(
        "-(1/sequences) sum_t w_step(t) logp_t, w = min(e^(advantage/temperature), w_max)",
        "Setlur et al. 2024, arXiv 2406.14532, section 6 (advantage-weighted form of theorem 6.1)",
        "Per-step advantage, weighted form. logp[T]: log-probabilities of tokens in nats. step[T]: the token's "
        "place in advantage (from 0 in C, from 1 in Lua; -1 in C, 0 in Lua: outside any step, not trained). "
        "advantage[S]: Q after the step minus Q before it, constant. sequences: how many solutions the batch holds."
        " The pair form is dpo on the sums of two steps that follow the same prefix. Result: one value."));
