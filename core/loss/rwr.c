#include "loss/loss.h"

enum { RWR_LOGP, RWR_REWARD, RWR_PROMPT };
enum { RWR_TEMPERATURE, RWR_MODE, RWR_CLIP };
enum { RWR_PLAIN, RWR_ADV, RWR_CENTER };

/* mean over the rows of row i's prompt of f(reward) */
static double rwr_prompt_mean(const pfi_call *c, int64_t i, double (*f)(const pfi_call *c, double reward)) {
    const int32_t *prompt = c->x[RWR_PROMPT];
    double sum = 0, rows = 0;
    for (int64_t j = 0; j < c->dim[0]; j++)
        if (prompt[j] == prompt[i]) {
            sum += f(c, loss_at(c, RWR_REWARD, j));
            rows++;
        }
    return sum / rows;
}

static double rwr_itself(const pfi_call *c, double reward) {
    (void)c;
    return reward;
}
static double rwr_exp(const pfi_call *c, double reward) { return loss_exp(reward / c->num[RWR_TEMPERATURE]); }

static double rwr_weight(const pfi_call *c, int64_t i) {
    double r = loss_at(c, RWR_REWARD, i);
    if (c->num[RWR_MODE] == RWR_PLAIN) return rwr_exp(c, r);
    if (c->num[RWR_MODE] == RWR_ADV) return rwr_exp(c, r - rwr_prompt_mean(c, i, rwr_itself));
    double w = rwr_exp(c, r) - rwr_prompt_mean(c, i, rwr_exp);
    return c->num[RWR_CLIP] != 0 ? fmax(0, w) : w;
}

static pf_status rwr_shape(pfi_call *c) {
    PF_TRY(loss_items_shape(c, 0));
    PF_TRY(loss_need_positive(c, "temperature", c->num[RWR_TEMPERATURE]));
    if (c->num[RWR_MODE] != RWR_PLAIN && !c->in[RWR_PROMPT])
        return pfi_call_fail(c, PF_TYPE, "modes \"adv\" and \"center\" need prompt, the number of each row's prompt");
    c->saved_bytes[0] = (size_t)c->dim[0] * sizeof(double);
    return PF_OK;
}

static pf_status rwr_forward(pfi_call *c) {
    double *w = c->saved[0];
    pf_real *y = c->y;
    for (int64_t i = 0; i < c->dim[0]; i++) {
        w[i] = rwr_weight(c, i);
        y[i] = (pf_real)(-w[i] * loss_at(c, RWR_LOGP, i));
    }
    return PF_OK;
}

static pf_status rwr_backward(pfi_call *c) {
    const double *w = c->saved[0];
    const pf_real *dy = c->dy;
    pf_real *dx = c->dx[RWR_LOGP];
    for (int64_t i = 0; i < c->dim[0]; i++) dx[i] -= (pf_real)((double)dy[i] * w[i]);
    return PF_OK;
}

static pf_status rwr_metrics(pfi_call *c) {
    const double *w = c->saved[0];
    double nll = 0, reward = 0, weight = 0, n = (double)c->dim[0];
    for (int64_t i = 0; i < c->dim[0]; i++) {
        nll -= loss_at(c, RWR_LOGP, i) / n;
        reward += loss_at(c, RWR_REWARD, i) / n;
        weight += w[i] / n;
    }
    pfi_metric(c, "nll_loss", nll);
    pfi_metric(c, "reward", reward);
    pfi_metric(c, "weights/mean", weight);
    return PF_OK;
}

static const pf_param rwr_params[] = {
    {.name = "logp", .kind = PF_KIND_TENSOR},
    {.name = "reward", .kind = PF_KIND_CONSTANT},
    {.name = "prompt", .kind = PF_KIND_INDEX, .optional = true},
    {.name = "temperature", .kind = PF_KIND_NUMBER, .optional = true, .value = 0.4},
    {.name = "mode", .kind = PF_KIND_CHOICE, .optional = true, .choices = "plain adv center"},
    {.name = "clip", .kind = PF_KIND_BOOLEAN, .optional = true, .value = 1},
};

static const double rwr_rewards[] = {1, 0, -1, 1};
static const int32_t rwr_prompts[] = {0, 1, 0, 1};
#define RWR_CASE(text)                                                                                                 \
    {                                                                                                                  \
        .dim = {PFI_S1(4), PFI_S1(4), PFI_S1(4)}, .ints = {[RWR_PROMPT] = rwr_prompts},                                \
        .reals = {[RWR_REWARD] = rwr_rewards}, .args = (text)                                                          \
    }
static const pfi_case rwr_cases[] = {
    {.dim = {PFI_S1(4), PFI_S1(4)}, .reals = {[RWR_REWARD] = rwr_rewards}},
    RWR_CASE("mode=adv temperature=1"),
    RWR_CASE("mode=center"),
    RWR_CASE("mode=center clip=0"),
    {.dim = {PFI_S1(4), PFI_S1(4)}, .args = "mode=adv", .want = PF_TYPE},
    {.dim = {PFI_S1(4), PFI_S1(4)}, .args = "temperature=0", .want = PF_RANGE},
    {.dim = {PFI_S1(4), PFI_S1(3)}, .want = PF_SHAPE},
};

PFI_LOSS_OP(
    rwr, PFI_PARAMS(rwr_params), PFI_CASES(rwr_cases), .shape = rwr_shape, .forward = rwr_forward,
    .backward = rwr_backward, .metrics = rwr_metrics,
    PFI_LOSS_DOC(
        "-w logp; plain: w = e^(reward/temperature), adv: e^((reward - mean)/temperature), center: "
        "e^(reward/temperature) - mean of that",
        "Qu et al. 2024 (RISE), arXiv 2407.18219, and its code (plain, temperature 0.4)",
        "Reward-weighted regression. logp[N]: mean log-probabilities per token in nats (RISE: of the last turn). "
        "reward[N]: constant. prompt[N]: which prompt a row belongs to; the means of adv and center run over its "
        "rows. clip: center's negative weights become 0. Exponents at most 80. The mean is over N, weights are not "
        "normalised. Result [N]."));
