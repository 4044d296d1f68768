#include "loss/dpo_item.h"

static pf_status dpo_check_smoothing(pfi_call *c) {
    const dpo_variant *v = dpo_variant_of(c);
    double eps = c->num[DPO_EPS];
    if (!(v->flags & DPO_SMOOTH) && eps != 0)
        return pfi_call_fail(c, PF_RANGE,
                             "label_smoothing is %g, but variant \"%s\" takes none; \"cdpo\" is \"sigmoid\" with label "
                             "smoothing (exo_pair, robust, aot and aot_unpaired take it too)",
                             eps, v->name);
    if (!(eps >= 0 && eps < 0.5))
        return pfi_call_fail(c, PF_RANGE, "label_smoothing is %g, expected at least 0 and below 0.5", eps);
    if (dpo_is(c, dpo_is_exo_pair) && eps == 0)
        return pfi_call_fail(c, PF_RANGE, "variant \"exo_pair\" needs label_smoothing above 0 (1e-3 is usual)");
    return PF_OK;
}

static pf_status dpo_check_tensors(pfi_call *c) {
    const dpo_variant *v = dpo_variant_of(c);
    if (!c->in[DPO_RC] != !c->in[DPO_RR])
        return pfi_call_fail(c, PF_TYPE, "ref_chosen and ref_rejected go together; give neither for no reference");
    if ((v->flags & DPO_LENS) == DPO_LENS && !(c->in[DPO_NC] && c->in[DPO_NR]))
        return pfi_call_fail(c, PF_TYPE, "variant \"%s\" needs len_chosen and len_rejected, in tokens", v->name);
    if (v->flags & DPO_LEN_C && !c->in[DPO_NC])
        return pfi_call_fail(c, PF_TYPE, "variant \"%s\" needs len_chosen, in tokens", v->name);
    if (v->flags & DPO_BATCH && c->in[DPO_WEIGHT])
        return pfi_call_fail(c, PF_TYPE, "variant \"%s\" takes no weight, its items are not single pairs", v->name);
    return PF_OK;
}

static pf_status dpo_shape(pfi_call *c) {
    PF_TRY(loss_items_shape(c, 0));
    PF_TRY(dpo_check_tensors(c));
    PF_TRY(loss_need_positive(c, "beta", c->num[DPO_BETA]));
    PF_TRY(loss_need_positive(c, "tau", c->num[DPO_TAU]));
    if (!isfinite(c->num[DPO_ALPHA])) return pfi_call_fail(c, PF_RANGE, "alpha is infinite");
    PF_TRY(dpo_check_smoothing(c));
    if (!dpo_sorts(c)) return PF_OK;
    c->saved_bytes[0] = 2 * (size_t)c->dim[0] * sizeof(int64_t);
    c->scratch_bytes = (size_t)c->dim[0] * sizeof(dpo_slot);
    return PF_OK;
}

static bool dpo_is_length(double x) { return x >= 1 && isfinite(x); }

static double dpo_mean_length(const pfi_call *c) {
    double sum = 0;
    for (int64_t i = 0; i < c->dim[0]; i++) sum += loss_at(c, DPO_NC, i);
    return sum / (double)c->dim[0];
}

static pf_status dpo_forward(pfi_call *c) {
    PF_TRY(loss_need_values(c, DPO_NC, dpo_is_length, "a length of at least 1 token"));
    PF_TRY(loss_need_values(c, DPO_NR, dpo_is_length, "a length of at least 1 token"));
    if (dpo_sorts(c)) dpo_sort_batch(c);
    pf_real *y = c->y;
    double len = dpo_mean_length(c);
    for (int64_t i = 0; i < c->dim[0]; i++) y[i] = (pf_real)dpo_item(c, i, len, &(dpo_slope){0});
    return PF_OK;
}

static pf_status dpo_backward(pfi_call *c) {
    const pf_real *dy = c->dy;
    double len = dpo_mean_length(c);
    for (int64_t i = 0; i < c->dim[0]; i++) {
        dpo_slope to;
        dpo_item(c, i, len, &to);
        for (int side = 0; side < 2; side++) {
            pf_real *dx = c->dx[side];
            if (dx) dx[to.place[side]] += (pf_real)((double)dy[i] * to.d[side]);
        }
    }
    return PF_OK;
}

static double dpo_reward(const pfi_call *c, int side, int64_t i) {
    return c->num[DPO_BETA] * (loss_at(c, side, i) - loss_at(c, DPO_RC + side, i));
}

static pf_status dpo_metrics(pfi_call *c) {
    loss_pair_metrics(c, dpo_reward);
    return PF_OK;
}

#define X(name, link, flags) " " #name
static const char dpo_names[] = DPO_VARIANTS(X);
#undef X

static const pf_param dpo_params[] = {
    {.name = "policy_chosen", .kind = PF_KIND_TENSOR},
    {.name = "policy_rejected", .kind = PF_KIND_TENSOR},
    {.name = "ref_chosen", .kind = PF_KIND_CONSTANT, .optional = true},
    {.name = "ref_rejected", .kind = PF_KIND_CONSTANT, .optional = true},
    {.name = "len_chosen", .kind = PF_KIND_CONSTANT, .optional = true},
    {.name = "len_rejected", .kind = PF_KIND_CONSTANT, .optional = true},
    {.name = "weight", .kind = PF_KIND_CONSTANT, .optional = true},
    {.name = "beta", .kind = PF_KIND_NUMBER, .optional = true, .value = 0.1},
    {.name = "variant", .kind = PF_KIND_CHOICE, .optional = true, .choices = &dpo_names[1]},
    {.name = "label_smoothing", .kind = PF_KIND_NUMBER, .optional = true, .value = 0},
    {.name = "tau", .kind = PF_KIND_NUMBER, .optional = true, .value = 0.05},
    {.name = "f_divergence", .kind = PF_KIND_CHOICE, .optional = true, .choices = DPO_DIVERGENCES},
    {.name = "alpha", .kind = PF_KIND_NUMBER, .optional = true, .value = 0.5},
};

#include "loss/dpo_cases.h"

PFI_LOSS_OP(
    dpo, PFI_PARAMS(dpo_params), PFI_CASES(dpo_cases), .shape = dpo_shape, .forward = dpo_forward,
    .backward = dpo_backward, .metrics = dpo_metrics,
    PFI_LOSS_DOC(
        "-log s(u), u = beta (sc - sr), sc = S(lc), lc = policy_chosen - ref_chosen; sr likewise of rejected. "
        "hinge: max(0, 1 - u); ipo: (sc/len_c - sr/len_r - 1/(2 beta))^2; ipo_sum: without lengths; cdpo: (1-e) "
        "f(u) + e f(-u), f = -log s; robust: ((1-e) f(u) - e f(-u)) / (1-2e); exo_pair: s(u) (log s(u) - log(1-e)) "
        "+ s(-u) (log s(-u) - log e); nca_pair: f(beta sc) + f(-beta sc)/2 + f(-beta sr)/2; bco_pair: f(beta sc) + "
        "f(-beta sr); sppo_hard: (sc - 1/(2 beta))^2 + (sr + 1/(2 beta))^2; apo_zero: s(-beta lc) + s(beta lr); "
        "apo_down: s(beta lc) + s(-u); discopop: (1-m) f(u) + m e^-u, m = s(u/tau); sigmoid_norm: f(beta (sc/len_c "
        "- sr/len_r)); aot: cdpo of sorted policy_chosen - policy_rejected against sorted ref_chosen - "
        "ref_rejected; aot_unpaired: of sorted lc against sorted lr; sft: -policy_chosen / mean len_c",
        "Rafailov et al. 2023, arXiv 2305.18290, eq. 7; variants: TRL 1.10 DPOTrainer loss_type; cdpo, ipo_sum: the"
        " DPO authors' trainers.py; f-divergences: Wang et al. 2023, arXiv 2309.16240",
        "Direct preference optimisation. policy_chosen[N], policy_rejected[N], ref_chosen[N], ref_rejected[N]: "
        "log-probabilities of N pairs in nats, summed over the completion; the reference is constant and may be "
        "left out (0). variant is TRL's loss_type (semantics of TRL 1.10), or cdpo (sigmoid with label smoothing) "
        "or ipo_sum (ipo without averaging). len_chosen[N], len_rejected[N]: tokens; ipo and sigmoid_norm divide "
        "scores by them, sft averages over the batch's tokens. label_smoothing: for cdpo, exo_pair, robust, aot, "
        "aot_unpaired. tau: of discopop. f_divergence, alpha: S(l) is l, -exp(-l), log s(l) or exp((alpha - 1) l) /"
        " (alpha - 1), exponents at most 80; aot, aot_unpaired, apo_zero, apo_down's first term and sft use l "
        "itself. weight[N]: constant factors of the pairs (WPO). Result [N]; for aot one value a slot of the sorted"
        " batch. Per-step preferences: pass sums over the steps that follow the same prefix. LD-DPO: pass sums made"
        " by ld_sum."));
