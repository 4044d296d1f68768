/* The variants of dpo: the loss of one pair as a function of its scores and log-ratios. Internal to loss/dpo.c.
 *
 * A variant is a row of DPO_VARIANTS and a function that returns the loss and sets its derivatives. */
#ifndef PFI_DPO_LINKS_H
#define PFI_DPO_LINKS_H

#include "loss/loss.h"

typedef struct dpo_pair {
    double sc, sr;         /* scores of chosen and rejected: S(log-ratio), S of the f-divergence */
    double lc, lr;         /* log-ratios, policy - reference */
    double pc;             /* policy log-prob of chosen */
    double len_c, len_r;   /* tokens */
    double len_c_mean;     /* over the batch */
    double beta, eps, tau; /* eps: label_smoothing */
    double d_sc, d_sr;     /* out: derivatives by the scores ... */
    double d_lc, d_lr;     /* ... and by the log-ratios, which for the constant reference are those by the policy */
} dpo_pair;

/* what a variant needs or takes */
enum { DPO_LEN_C = 1, DPO_LEN_R = 2, DPO_SMOOTH = 4, DPO_BATCH = 8, DPO_LENS = DPO_LEN_C | DPO_LEN_R };

/* Beside sigmoid: hinge SLiC-HF 2305.10425, RSO 2309.06657; ipo 2310.12036; exo_pair 2402.00856; nca_pair 2402.05369;
 * robust 2403.00409; bco_pair 2404.04656; sppo_hard 2405.00675; aot 2406.05882; apo 2408.06266; discopop 2406.08414;
 * sigmoid_norm: lengths as in SimPO 2405.14734, with a reference; cdpo: Mitchell's note of 2023.
 * X(name, link function dpo_..., flags); DPO_BATCH: items are not the pairs given, so pair weights have no meaning */
#define DPO_VARIANTS(X)                                                                                                \
    X(sigmoid, sigmoid, 0)                                                                                             \
    X(hinge, hinge, 0)                                                                                                 \
    X(ipo, ipo, DPO_LENS)                                                                                              \
    X(exo_pair, exo_pair, DPO_SMOOTH)                                                                                  \
    X(nca_pair, nca_pair, 0)                                                                                           \
    X(robust, robust, DPO_SMOOTH)                                                                                      \
    X(bco_pair, bco_pair, 0)                                                                                           \
    X(sppo_hard, sppo_hard, 0)                                                                                         \
    X(aot, cdpo, DPO_SMOOTH | DPO_BATCH)                                                                               \
    X(aot_unpaired, cdpo, DPO_SMOOTH | DPO_BATCH)                                                                      \
    X(apo_zero, apo_zero, 0)                                                                                           \
    X(apo_down, apo_down, 0)                                                                                           \
    X(discopop, discopop, 0)                                                                                           \
    X(sft, sft, DPO_LEN_C | DPO_BATCH)                                                                                 \
    X(sigmoid_norm, sigmoid_norm, DPO_LENS)                                                                            \
    X(cdpo, cdpo, DPO_SMOOTH)                                                                                          \
    X(ipo_sum, ipo_sum, 0)

static double dpo_margin(const dpo_pair *p) { return p->beta * (p->sc - p->sr); }

/* the loss depends on u = beta (sc - sr) alone, with derivative du */
static void dpo_by_margin(dpo_pair *p, double du) {
    p->d_sc = p->beta * du;
    p->d_sr = -p->beta * du;
}

static double dpo_sigmoid(dpo_pair *p) {
    double u = dpo_margin(p);
    dpo_by_margin(p, -loss_sigmoid(-u));
    return loss_softplus(-u);
}

static double dpo_cdpo(dpo_pair *p) {
    double u = dpo_margin(p), eps = p->eps;
    dpo_by_margin(p, -(1 - eps) * loss_sigmoid(-u) + eps * loss_sigmoid(u));
    return (1 - eps) * loss_softplus(-u) + eps * loss_softplus(u);
}

static double dpo_robust(dpo_pair *p) {
    double u = dpo_margin(p), eps = p->eps, scale = 1 / (1 - 2 * eps);
    dpo_by_margin(p, -scale * ((1 - eps) * loss_sigmoid(-u) + eps * loss_sigmoid(u)));
    return scale * ((1 - eps) * loss_softplus(-u) - eps * loss_softplus(u));
}

static double dpo_hinge(dpo_pair *p) {
    double u = dpo_margin(p);
    dpo_by_margin(p, u < 1 ? -1 : 0);
    return fmax(0, 1 - u);
}

static double dpo_exo_pair(dpo_pair *p) {
    double u = dpo_margin(p), log_keep = log1p(-p->eps), log_flip = log(p->eps);
    dpo_by_margin(p, loss_bell(u) * (u - log_keep + log_flip));
    return loss_sigmoid(u) * (-loss_softplus(-u) - log_keep) + loss_sigmoid(-u) * (-loss_softplus(u) - log_flip);
}

static double dpo_discopop(dpo_pair *p) {
    double u = dpo_margin(p), mix = loss_sigmoid(u / p->tau), d_mix = loss_bell(u / p->tau) / p->tau;
    double logistic = loss_softplus(-u), exponential = loss_exp(-u);
    double d_exponential = -u < loss_exp_max ? -exponential : 0;
    dpo_by_margin(p, d_mix * (exponential - logistic) - (1 - mix) * loss_sigmoid(-u) + mix * d_exponential);
    return (1 - mix) * logistic + mix * exponential;
}

static double dpo_ipo_sum(dpo_pair *p) {
    double e = p->sc - p->sr - 1 / (2 * p->beta);
    p->d_sc = 2 * e;
    p->d_sr = -2 * e;
    return e * e;
}

static double dpo_ipo(dpo_pair *p) {
    double e = p->sc / p->len_c - p->sr / p->len_r - 1 / (2 * p->beta);
    p->d_sc = 2 * e / p->len_c;
    p->d_sr = -2 * e / p->len_r;
    return e * e;
}

static double dpo_sigmoid_norm(dpo_pair *p) {
    double u = p->beta * (p->sc / p->len_c - p->sr / p->len_r);
    p->d_sc = -p->beta * loss_sigmoid(-u) / p->len_c;
    p->d_sr = p->beta * loss_sigmoid(-u) / p->len_r;
    return loss_softplus(-u);
}

static double dpo_nca_pair(dpo_pair *p) {
    double c = p->beta * p->sc, r = p->beta * p->sr;
    p->d_sc = p->beta * (loss_sigmoid(c) / 2 - loss_sigmoid(-c));
    p->d_sr = p->beta * loss_sigmoid(r) / 2;
    return loss_softplus(-c) + loss_softplus(c) / 2 + loss_softplus(r) / 2;
}

static double dpo_bco_pair(dpo_pair *p) {
    double c = p->beta * p->sc, r = p->beta * p->sr;
    p->d_sc = -p->beta * loss_sigmoid(-c);
    p->d_sr = p->beta * loss_sigmoid(r);
    return loss_softplus(-c) + loss_softplus(r);
}

static double dpo_sppo_hard(dpo_pair *p) {
    double win = p->sc - 1 / (2 * p->beta), lose = p->sr + 1 / (2 * p->beta);
    p->d_sc = 2 * win;
    p->d_sr = 2 * lose;
    return win * win + lose * lose;
}

static double dpo_apo_zero(dpo_pair *p) {
    double c = p->beta * p->lc, r = p->beta * p->lr;
    p->d_lc = -p->beta * loss_bell(c);
    p->d_lr = p->beta * loss_bell(r);
    return loss_sigmoid(-c) + loss_sigmoid(r);
}

static double dpo_apo_down(dpo_pair *p) {
    double c = p->beta * p->lc, u = dpo_margin(p);
    p->d_lc = p->beta * loss_bell(c);
    dpo_by_margin(p, -loss_bell(u));
    return loss_sigmoid(c) + loss_sigmoid(-u);
}

/* dividing by the mean length makes the mean over pairs the mean over tokens */
static double dpo_sft(dpo_pair *p) {
    p->d_lc = -1 / p->len_c_mean;
    return -p->pc / p->len_c_mean;
}

/* The score S(l) of an f-divergence, with its derivative. kind in the order of DPO_DIVERGENCES. */
#define DPO_DIVERGENCES "reverse_kl forward_kl js_divergence alpha_divergence"

static double dpo_score(double l, int kind, double alpha, double *slope) {
    double a = kind == 1 ? -1 : alpha - 1; /* forward KL is the alpha-divergence with alpha = 0 */
    *slope = 1;
    if (kind == 0 || (kind == 3 && fabs(a) < 1e-6)) return l;
    if (kind == 2) {
        *slope = loss_sigmoid(-l);
        return -loss_softplus(-l);
    }
    *slope = a * l < loss_exp_max ? exp(a * l) : 0;
    return loss_exp(a * l) / a;
}

#endif
