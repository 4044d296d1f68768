/* Worked calls of every dpo variant but sft: a gradient that is 0, as sft's by policy_rejected, tells the harness
 * nothing, so sft has tests of its own. Internal to loss/dpo.c. */
#ifndef PFI_DPO_CASES_H
#define PFI_DPO_CASES_H

#include "op/op.h"

static const double dpo_some_lengths[] = {6, 9, 3}, dpo_bad_lengths[] = {6, 0, 3};

#define DPO_FOUR PFI_S1(3), PFI_S1(3), PFI_S1(3), PFI_S1(3)
#define DPO_CASE(text)                                                                                                 \
    { .dim = {DPO_FOUR}, .lo = -3, .hi = 3, .args = (text) }
#define DPO_CASE_LEN(text)                                                                                             \
    {                                                                                                                  \
        .dim = {DPO_FOUR, PFI_S1(3), PFI_S1(3)}, .reals = {[4] = dpo_some_lengths, [5] = dpo_some_lengths}, .lo = -3,  \
        .hi = 3, .args = (text)                                                                                        \
    }
#define DPO_BAD(text, status)                                                                                          \
    { .dim = {DPO_FOUR}, .args = (text), .want = (status) }

static const pfi_case dpo_cases[] = {
    DPO_CASE(NULL),
    DPO_CASE("beta=0.5"),
    {.dim = {PFI_S1(3), PFI_S1(3)}}, /* no reference */
    {.dim = {DPO_FOUR, [6] = PFI_S1(3)}},
    DPO_CASE("variant=hinge beta=0.05"), /* |u| < 1: away from the kink */
    DPO_CASE_LEN("variant=ipo"),
    DPO_CASE("variant=exo_pair label_smoothing=0.001"),
    DPO_CASE("variant=nca_pair"),
    DPO_CASE("variant=robust label_smoothing=0.1"),
    DPO_CASE("variant=bco_pair"),
    DPO_CASE("variant=sppo_hard"),
    DPO_CASE("variant=aot"),
    DPO_CASE("variant=aot label_smoothing=0.1 beta=0.5"),
    DPO_CASE("variant=aot_unpaired label_smoothing=0.1"),
    DPO_CASE("variant=apo_zero"),
    DPO_CASE("variant=apo_down"),
    DPO_CASE("variant=discopop"),
    DPO_CASE_LEN("variant=sigmoid_norm"),
    DPO_CASE("variant=cdpo label_smoothing=0.1"),
    DPO_CASE("variant=ipo_sum"),
    DPO_CASE("f_divergence=forward_kl"),
    DPO_CASE("f_divergence=js_divergence"),
    DPO_CASE("f_divergence=alpha_divergence alpha=0.3"),
    DPO_CASE("f_divergence=alpha_divergence alpha=1"),
    DPO_CASE("variant=apo_down f_divergence=js_divergence"),
    DPO_CASE("variant=nca_pair f_divergence=js_divergence"),
    DPO_BAD("beta=0", PF_RANGE),
    DPO_BAD("label_smoothing=0.1", PF_RANGE),
    DPO_BAD("variant=exo_pair", PF_RANGE),
    DPO_BAD("variant=robust label_smoothing=0.5", PF_RANGE),
    DPO_BAD("variant=discopop tau=0", PF_RANGE),
    DPO_BAD("variant=ipo", PF_TYPE),
    DPO_BAD("variant=sft", PF_TYPE),
    {.dim = {PFI_S1(3), PFI_S1(2)}, .want = PF_SHAPE},
    {.dim = {PFI_S1(3), PFI_S1(3), PFI_S1(3)}, .want = PF_TYPE},
    {.dim = {PFI_S1(3), PFI_S1(3), PFI_S1(2), PFI_S1(2)}, .want = PF_SHAPE},
    {.dim = {PFI_S2(3, 1), PFI_S2(3, 1)}, .want = PF_SHAPE},
    {.dim = {PFI_S1(0), PFI_S1(0)}, .want = PF_SHAPE},
    {.dim = {DPO_FOUR, [6] = PFI_S1(3)}, .args = "variant=aot", .want = PF_TYPE},
    {.dim = {DPO_FOUR, PFI_S1(3), PFI_S1(3)},
     .reals = {[4] = dpo_some_lengths, [5] = dpo_bad_lengths},
     .args = "variant=ipo",
     .want = PF_RANGE},
};

#endif
