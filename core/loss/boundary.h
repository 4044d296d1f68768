/* Alignment of a group's scores with a constraint on how far the worse ones fall. Internal to align.c and rank.c.
 *
 *   L = log(1 + sum over i better than j of [ e^(s_j - s_i) + e^(T_ij - s_j) ]),  T_ij = 2 (s*_j - beta) - s_i,
 *   s*_j the smallest score better than j's rank.
 *
 * The second term pushes s_j back up once it is below s*_j - beta. Factorised: with a_j = log sum_i e^(-s_i) over the
 * better ones, the exponents are a_j + s_j and a_j + 2 (s*_j - beta) - s_j, one of each for every j. */
#ifndef PFI_BOUNDARY_H
#define PFI_BOUNDARY_H

#include "loss/loss.h"

enum { BOUNDARY_FULL, BOUNDARY_DETACHED, BOUNDARY_NONE };
#define BOUNDARY_CHOICES "boundary detached none"

typedef struct boundary {
    int64_t k;
    const double *s, *rank; /* [k]; a smaller rank is better */
    int constraint;         /* FULL: as above; DETACHED: first term, s_j constant; NONE: first term */
    double beta;
    bool detach_T; /* T_ij constant */
} boundary;

/* what stands against candidate j */
typedef struct boundary_above {
    double a;        /* log sum e^(-s_i) over the better ones; -infinity if there is none */
    int64_t weakest; /* where s*_j is */
} boundary_above;

static boundary_above boundary_better(const boundary *b, int64_t j) {
    boundary_above up = {-HUGE_VAL, -1};
    for (int64_t i = 0; i < b->k; i++) {
        if (!(b->rank[i] < b->rank[j])) continue;
        if (up.weakest < 0 || b->s[i] < b->s[up.weakest]) up.weakest = i;
        up.a = loss_log_add(up.a, -b->s[i]);
    }
    return up;
}

/* exponent `term` of candidate j: 0 pushes it down, 1 holds it up */
static double boundary_exponent(const boundary *b, int64_t j, const boundary_above *up, int term) {
    if (up->weakest < 0 || (term == 1 && b->constraint != BOUNDARY_FULL)) return -HUGE_VAL;
    return term == 0 ? up->a + b->s[j] : up->a + 2 * (b->s[up->weakest] - b->beta) - b->s[j];
}

static double boundary_loss(const boundary *b) {
    double loss = 0; /* the 1 in the log */
    for (int64_t j = 0; j < b->k; j++) {
        boundary_above up = boundary_better(b, j);
        for (int term = 0; term < 2; term++) loss = loss_log_add(loss, boundary_exponent(b, j, &up, term));
    }
    return loss;
}

/* d[k] = the loss's derivatives by s, with constants as the constraint has them */
static void boundary_slopes(const boundary *b, double *d) {
    double loss = boundary_loss(b);
    for (int64_t j = 0; j < b->k; j++) d[j] = 0;
    for (int64_t j = 0; j < b->k; j++) {
        boundary_above up = boundary_better(b, j);
        if (up.weakest < 0) continue;
        double down = exp(boundary_exponent(b, j, &up, 0) - loss), hold = exp(boundary_exponent(b, j, &up, 1) - loss);
        double live = b->detach_T ? 0 : hold;
        if (b->constraint != BOUNDARY_DETACHED) d[j] += down - hold;
        d[up.weakest] += 2 * live;
        for (int64_t i = 0; i < b->k; i++)
            if (b->rank[i] < b->rank[j]) d[i] -= (down + live) * exp(-b->s[i] - up.a);
    }
}

/* share of the pairs of different rank whose better one has the higher score; NaN without pairs */
static double boundary_accuracy(const boundary *b, double *margin) {
    double pairs = 0, right = 0, sum = 0;
    for (int64_t j = 0; j < b->k; j++)
        for (int64_t i = 0; i < b->k; i++) {
            if (!(b->rank[i] < b->rank[j])) continue;
            pairs++;
            right += b->s[i] > b->s[j];
            sum += b->s[i] - b->s[j];
        }
    *margin = sum / pairs;
    return right / pairs;
}

static inline pf_status boundary_check(pfi_call *c, double beta) {
    if (beta >= 0 && isfinite(beta)) return PF_OK;
    return pfi_call_fail(c, PF_RANGE, "beta is %g, expected a finite number of at least 0", beta);
}

static inline void boundary_metrics(pfi_call *c, const boundary *b) {
    double margin, accuracy = boundary_accuracy(b, &margin);
    if (isnan(accuracy)) return;
    pfi_metric(c, "rewards/accuracies", accuracy);
    pfi_metric(c, "rewards/margins", margin);
}

#endif
