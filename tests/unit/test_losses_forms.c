/* The losses against closed forms and hand-worked numbers: values at the start, metrics, constants, errors, extremes.
 */
#include "losses.h"
#include "op/op.h"

/* ---- policy = reference ---- */

static void test_start(void **state) {
    (void)state;
    static const struct {
        const char *variant;
        double value;
    } want[] = {{"sigmoid", M_LN2},      {"hinge", 1},      {"ipo", 25},
                {"nca_pair", 2 * M_LN2}, {"robust", M_LN2}, {"aot", M_LN2},
                {"bco_pair", 2 * M_LN2}, {"sppo_hard", 50}, {"aot_unpaired", M_LN2},
                {"apo_zero", 1},         {"apo_down", 1},   {"discopop", M_LN2 / 2 + 0.5},
                {"sigmoid_norm", M_LN2}, {"cdpo", M_LN2},   {"ipo_sum", 25}};
    LOSSES_BOTH(k) {
        for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
            losses_t(&k, "policy_chosen", -7, -3.5);
            losses_t(&k, "policy_rejected", -9, -2);
            losses_c(&k, "ref_chosen", -7, -3.5);
            losses_c(&k, "ref_rejected", -9, -2);
            losses_c(&k, "len_chosen", 4, 2);
            losses_c(&k, "len_rejected", 3, 2);
            losses_text(&k, "variant", want[i].variant);
            losses_expect(&k, "dpo", want[i].value);
            assert_true(losses_metric(k.ctx, "rewards/accuracies") == 0); /* ties are wrong */
            assert_true(losses_metric(k.ctx, "rewards/margins") == 0);
            losses_free(&k);
        }
        losses_t(&k, "policy", -7, -3.5);
        losses_c(&k, "ref", -7, -3.5);
        losses_c(&k, "label", 1, 0);
        losses_expect(&k, "kto", 0.5);
    }
}

/* ---- metrics ---- */

static void test_pair_metrics(void **state) {
    (void)state;
    LOSSES_BOTH(k) {
        for (int divergence = 0; divergence < 2; divergence++) { /* rewards are of log-ratios whatever the divergence */
            losses_pairs(&k);
            losses_text(&k, "f_divergence", divergence ? "forward_kl" : "reverse_kl");
            losses_text(&k, "reduction", "none");
            pf_tensor *items = losses_apply(&k, "dpo");
            assert_int_equal(pf_tensor_numel(items), 3);
            pf_tensor_free(items);
            losses_expect_metric(&k, "rewards/chosen", 0.1 * 0.5 / 3);
            losses_expect_metric(&k, "rewards/rejected", -0.1 * 0.5 / 3);
            losses_expect_metric(&k, "rewards/accuracies", 1.0 / 3);
            losses_expect_metric(&k, "rewards/margins", 0.1 / 3);
            losses_expect_metric(&k, "logps/chosen", -37.0 / 3);
            losses_expect_metric(&k, "logps/rejected", -38.0 / 3);
            losses_free(&k);
        }
    }
}

static void test_row_metrics(void **state) {
    (void)state;
    LOSSES_BOTH(k) {
        losses_t(&k, "policy", -4, -6, -8);
        losses_c(&k, "ref", -5, -5, -5);
        losses_c(&k, "label", 1, 0, 1);
        losses_c(&k, "kl", -3);
        losses_run(&k, "kto");
        losses_expect_metric(&k, "kl", 0);
        losses_expect_metric(&k, "rewards/chosen", -0.1);
        losses_expect_metric(&k, "rewards/rejected", -0.1);
        losses_expect_metric(&k, "rewards/margins", 0);
        losses_expect_metric(&k, "logps/chosen", -6);
        losses_expect_metric(&k, "logps/rejected", -6);
        losses_free(&k);
        losses_t(&k, "policy", -4);
        losses_c(&k, "ref", -5);
        losses_c(&k, "label", 1);
        losses_run(&k, "kto");
        losses_expect_metric(&k, "rewards/chosen", 0.1);
        assert_true(isnan(losses_metric(k.ctx, "rewards/rejected"))); /* a side without rows is left out */
        assert_true(isnan(losses_metric(k.ctx, "rewards/margins")));
    }
}

/* ---- forms that the reference table lacks ---- */

static double losses_softplus(double x) { return log1p(exp(x)); }

static void test_dpo_forms(void **state) {
    (void)state;
    LOSSES_BOTH(k) {
        losses_pairs(&k); /* the token mean of the batch: 37 nats over 20 tokens */
        losses_c(&k, "len_chosen", 6, 10, 4);
        losses_text(&k, "variant", "sft");
        losses_expect(&k, "dpo", 37.0 / 20);
        losses_expect_grad(&k, k.arg[0].tensor, (double[]){-0.05, -0.05, -0.05});
        losses_expect_grad(&k, k.arg[1].tensor, (double[]){0, 0, 0});
        losses_free(&k);
        losses_pairs(&k); /* a pair's weight multiplies its loss and its gradient */
        losses_c(&k, "weight", 0.5, 0, 2);
        losses_expect(&k, "dpo", (0.5 * 0.5981388693815918 + 2 * M_LN2) / 3);
        losses_expect_grad(&k, k.arg[1].tensor, (double[]){0.5 * 0.04501660026875221 / 3, 0, 2 * 0.05 / 3});
        losses_free(&k);
        losses_t(&k, "policy_chosen", -12); /* without a reference */
        losses_t(&k, "policy_rejected", -15);
        losses_expect(&k, "dpo", losses_softplus(-0.3));
        losses_free(&k);
        /* scores drop the divergence's constant; apo_down mixes log-ratio and scores */
        losses_t(&k, "policy_chosen", -12);
        losses_t(&k, "policy_rejected", -15);
        losses_c(&k, "ref_chosen", -13);
        losses_c(&k, "ref_rejected", -14);
        losses_text(&k, "f_divergence", "forward_kl");
        losses_text(&k, "variant", "apo_down");
        double u = 0.1 * (exp(1) - exp(-1));
        losses_expect(&k, "dpo", 1 / (1 + exp(-0.1)) + 1 / (1 + exp(u)));
        k.n--;
        losses_text(&k, "variant", "bco_pair");
        losses_expect(&k, "dpo", losses_softplus(0.1 * exp(-1)) + losses_softplus(-0.1 * exp(1)));
    }
}

static void test_aot_ties(void **state) {
    (void)state;
    LOSSES_BOTH(k) { /* equal log-ratios keep their order, so they meet the reference's in that order */
        losses_t(&k, "policy_chosen", -1, -2, -3);
        losses_t(&k, "policy_rejected", -2, -3, -4);
        losses_c(&k, "ref_chosen", -1, -2, -3);
        losses_c(&k, "ref_rejected", -2, -4, -3);
        losses_text(&k, "variant", "aot"); /* policy 1, 1, 1; reference 0, 1, 2 */
        losses_number(&k, "beta", 1);
        losses_expect(&k, "dpo", (losses_softplus(-1) + M_LN2 + losses_softplus(1)) / 3);
        double s = 1 / (1 + exp(1.0));
        losses_expect_grad(&k, k.arg[0].tensor, (double[]){-s / 3, -0.5 / 3, -(1 - s) / 3});
    }
}

static void test_cpo_bco(void **state) {
    (void)state;
    LOSSES_BOTH(k) {
        losses_t(&k, "policy_chosen", -12, -20);
        losses_t(&k, "policy_rejected", -15, -18);
        pf_tensor *nll = losses_t(&k, "nll", 2);
        losses_number(&k, "cpo_alpha", 0.5);
        losses_expect(&k, "cpo", (losses_softplus(-0.3) + losses_softplus(0.2)) / 2 + 1);
        losses_expect_grad(&k, nll, (double[]){0.5});
        losses_expect_grad(&k, k.arg[0].tensor, (double[]){-0.05 / (1 + exp(0.3)), -0.05 / (1 + exp(-0.2))});
        losses_expect_metric(&k, "nll_loss", 2);
        losses_expect_metric(&k, "rewards/margins", 0.05);
        losses_number(&k, "label_smoothing", 0.25);
        losses_expect(&k, "cpo",
                      (0.75 * losses_softplus(-0.3) + 0.25 * losses_softplus(0.3) + 0.75 * losses_softplus(0.2) +
                       0.25 * losses_softplus(-0.2)) /
                              2 +
                          1);
        k.n--;
        losses_text(&k, "variant", "hinge");
        losses_expect(&k, "cpo", (0.7 + 1.2) / 2 + 1);
        k.n--;
        losses_text(&k, "variant", "ipo");
        losses_expect(&k, "cpo", (4.0 + 49) / 2 + 1);
        losses_free(&k);
        pf_tensor *policy = losses_t(&k, "policy", -4, -6); /* rewards 0.5, -0.5, shifted by 0.2 */
        losses_c(&k, "ref", -5, -5);
        losses_c(&k, "label", 1, 0);
        losses_c(&k, "weight", 1, 3);
        losses_number(&k, "beta", 0.5);
        losses_number(&k, "delta", 0.2);
        losses_expect(&k, "bco", (losses_softplus(-0.3) + 3 * losses_softplus(-0.7)) / 2);
        losses_expect_grad(&k, policy, (double[]){-0.25 / (1 + exp(0.3)), 0.75 / (1 + exp(0.7))});
    }
}

static void test_simpo_alpha_orpo(void **state) {
    (void)state;
    LOSSES_BOTH(k) {
        pf_tensor *chosen = losses_t(&k, "policy_chosen", -0.5), *rejected = losses_t(&k, "policy_rejected", -1);
        losses_number(&k, "alpha", 0.5);
        double u = 2 * ((1 - exp(0.25)) / 0.5 - (1 - exp(0.5)) / 0.5) - 0.5, s = 1 / (1 + exp(u));
        losses_expect(&k, "simpo", losses_softplus(-u));
        losses_expect_grad(&k, chosen, (double[]){-2 * s * exp(0.25)});
        losses_expect_grad(&k, rejected, (double[]){2 * s * exp(0.5)});
        losses_free(&k);
        chosen = losses_t(&k, "policy_chosen", -0.5); /* nll left out is -policy_chosen */
        losses_t(&k, "policy_rejected", -1);
        losses_expect(&k, "orpo", 0.5320299785237537);
        losses_expect_grad(&k, chosen, (double[]){-1.06965437735530641});
        losses_expect_metric(&k, "log_odds_ratio", -0.320299785237537);
    }
}

static void test_weighted(void **state) {
    (void)state;
    LOSSES_BOTH(k) {
        pf_tensor *logp = losses_t(&k, "logp", -0.8, -1.2, -2.0);
        losses_c(&k, "reward", 1, 0, -1);
        losses_expect(&k, "rwr", 3.7033883892869);
        losses_expect_grad(&k, logp, (double[]){-12.182493960703473 / 3, -1.0 / 3, -0.0820849986238988 / 3});
        losses_index(&k, "prompt", (double[]){7, 7, 7}, 3);
        losses_text(&k, "mode", "center");
        losses_expect(&k, "rwr", 7.760967642 * 0.8 / 3); /* negative weights are clipped */
        losses_number(&k, "clip", 0);
        losses_expect(&k, "rwr", (7.760967642 * 0.8 - 3.421526318 * 1.2 - 4.33944132 * 2) / 3);
        losses_free(&k);
        losses_t(&k, "logp", -1, -2, -3); /* prompts 0 and 1: advantages 0.5, 0, -0.5 */
        losses_c(&k, "reward", 1, 1, 0);
        losses_index(&k, "prompt", (double[]){0, 1, 0}, 3);
        losses_text(&k, "mode", "adv");
        losses_number(&k, "temperature", 0.5);
        losses_expect(&k, "rwr", (exp(1) + 2 + 3 * exp(-1)) / 3);
        losses_expect_metric(&k, "reward", 2.0 / 3);
        losses_free(&k);
        losses_t(&k, "logp", -0.5, -1.5);
        losses_expect(&k, "nll", 1);
        losses_c(&k, "weight", 2, -1);
        losses_expect(&k, "nll", -0.25);
        losses_expect_grad(&k, k.arg[0].tensor, (double[]){-0.5 - 1, -0.5 + 0.5}); /* both runs added */
        losses_expect_metric(&k, "nll_loss", 1);
    }
}

static void test_advantage(void **state) {
    (void)state;
    LOSSES_BOTH(k) { /* the prompt's token is outside; step 3 has two tokens */
        pf_tensor *logp = losses_t(&k, "logp", -9, -1, -2, -0.5, -0.25);
        losses_index(&k, "step", (double[]){-1, 0, 1, 2, 2}, 5);
        losses_c(&k, "advantage", 0.2, -0.4, 0);
        losses_number(&k, "temperature", 0.5);
        losses_number(&k, "sequences", 2);
        double w[] = {1.4918246976412703, 0.4493289641172216, 1};
        losses_expect(&k, "advantage", (w[0] + 2 * w[1] + 0.75) / 2);
        losses_expect_grad(&k, logp, (double[]){0, -w[0] / 2, -w[1] / 2, -0.5, -0.5});
        losses_expect_metric(&k, "weights/mean", (w[0] + w[1] + 2) / 4);
        losses_expect_metric(&k, "weights/clipped", 0);
        losses_number(&k, "w_max", 1.25);
        losses_expect(&k, "advantage", (1.25 + 2 * w[1] + 0.75) / 2);
        losses_expect_metric(&k, "weights/clipped", 0.25);
    }
}

static void test_ld_sum(void **state) {
    (void)state;
    static const double alpha[] = {1, 0.5, 0}, delta[] = {-0.35, -0.075, 0.2}; /* pair of 4 and 2 tokens */
    LOSSES_BOTH(k) {
        for (int i = 0; i < 3; i++) {
            double sum[2][2];
            for (int ref = 0; ref < 2; ref++) {
                if (ref)
                    losses_t(&k, "logp", -0.6, -1.1, -0.2, -1.5, -0.6, -0.4);
                else
                    losses_t(&k, "logp", -0.5, -1, -0.25, -2, -0.7, -0.3);
                losses_index(&k, "sequence", (double[]){0, 0, 0, 0, 1, 1}, 6);
                losses_index(&k, "partner", (double[]){1, 0}, 2);
                losses_number(&k, "alpha", alpha[i]);
                pf_tensor *t = losses_apply(&k, "ld_sum");
                support_ok(k.ctx, pf_tensor_read(t, sum[ref], 2));
                pf_tensor_free(t);
                losses_free(&k);
            }
            losses_close(sum[0][0] - sum[1][0] - sum[0][1] + sum[1][1], delta[i], losses_tolerance(k.dtype), "ld_sum");
        }
    }
}

/* ---- alignment ---- */

static void test_align(void **state) {
    (void)state;
    LOSSES_BOTH(k) { /* two ranks are two groups; equal ranks are not compared; order does not matter */
        losses_t(&k, "scores", -1.2, -0.5, -0.6, -0.8);
        losses_c(&k, "ranks", 2, 1, 2, 1);
        losses_expect(&k, "rank", 1.9841560494591862);
        losses_expect_grad(
            &k, k.arg[0].tensor,
            (double[]){-0.10408442455774546, -0.19269086712063702, 0.1471736925426635, -0.26010546412224916});
        losses_free(&k);
        losses_t(&k, "scores", -0.5, -0.8, -0.7); /* detached: the value of none, only better ones are pushed */
        losses_text(&k, "constraint", "detached");
        double a = exp(-0.3), b = exp(-0.2), c = exp(0.1), sum = 1 + a + b + c;
        losses_expect(&k, "rank", log(sum));
        losses_expect_grad(&k, k.arg[0].tensor, (double[]){-(a + b) / sum, -c / sum, 0});
        losses_expect_metric(&k, "rewards/accuracies", 2.0 / 3);
        losses_expect_metric(&k, "rewards/margins", (0.3 + 0.2 - 0.1) / 3);
        losses_free(&k);
        losses_t(&k, "positive", -0.5, -0.7); /* a question without wrong answers teaches nothing */
        losses_tensor(&k, "negative", NULL, 0, true);
        losses_expect(&k, "align", 0);
        losses_expect_grad(&k, k.arg[0].tensor, (double[]){0, 0});
        assert_true(isnan(losses_metric(k.ctx, "rewards/accuracies")));
        losses_free(&k);
        losses_t(&k, "positive", -0.5, -0.7);
        losses_t(&k, "negative", -0.6);
        losses_run(&k, "align");
        losses_expect_metric(&k, "rewards/accuracies", 0.5);
        losses_expect_metric(&k, "logps/chosen", -0.6);
    }
}

/* ---- from logits to the loss and back: a shifted mask, prompt positions untouched ---- */

static void test_end_to_end(void **state) {
    (void)state;
    /* rows: chosen ids 0 1 2 1 with prompt 0 1, then rejected ids 0 1 0 with the same prompt; columns: vocabulary */
    static const double policy[] = {.1, .2, .3, 1, 0, 2, .5, 1.5, -.5, 9, 9, 9, .1, .2, .3, 1, 0, 2, 9, 9, 9},
                        eye[] = {1, 0, 0, 0, 1, 0, 0, 0, 1};
    static const double dz[] = {0,           0,          0,           0.01153736,  0.00424436, -0.01578172, 0.01153736,
                                -0.01578172, 0.00424436, 0,           0,           0,          0,           0,
                                0,           0.03560616, -0.00424436, -0.03136180, 0,          0,           0};
    LOSSES_BOTH(k) {
        pf_tensor *z = pf_tensor_from(k.ctx, k.dtype, 2, (int64_t[]){7, 3}, policy, 21);
        pf_tensor *w = pf_tensor_from(k.ctx, k.dtype, 2, (int64_t[]){3, 3}, eye, 9);
        support_ok(k.ctx, pf_tensor_set_grad(z, true));
        losses_index(&k, "node", (double[]){1, 2, 5}, 3);
        losses_index(&k, "target", (double[]){2, 1, 0}, 3);
        losses_index(&k, "group", (double[]){0, 0, 1}, 3);
        losses_index(&k, "at", (double[]){0}, 1);
        losses_index(&k, "at", (double[]){1}, 1);
        pf_tensor *logp = pf_call(k.ctx, "token_logp", PF_T("h", z), PF_T("w", w), k.arg[0], k.arg[1]);
        pf_tensor *sums = pf_call(k.ctx, "sum_by", PF_T("x", logp), k.arg[2], PF_N("n", 2));
        pf_tensor *pc = pf_call(k.ctx, "index", PF_T("x", sums), k.arg[3]);
        pf_tensor *pr = pf_call(k.ctx, "index", PF_T("x", sums), k.arg[4]);
        losses_free(&k);
        assert_non_null(pr);
        double tol = losses_tolerance(k.dtype);
        losses_close(pf_tensor_item(pc), -0.8152119288940717, tol, "chosen");
        k.arg[k.n++] = (pf_arg)PF_T("policy_chosen", pc);
        k.arg[k.n++] = (pf_arg)PF_T("policy_rejected", pr);
        losses_c(&k, "ref_chosen", -0.9580200879342297 - 0.5514447139320511);
        losses_c(&k, "ref_rejected", -0.9580200879342297);
        losses_close(losses_run(&k, "dpo"), 0.6375898111, 1e-9 + tol, "loss");
        for (size_t i = 0; i < 21; i++) /* the figures have eight decimals */
            if (!(fabs(losses_grad(z, i) - dz[i]) < 6e-9 + tol * fabs(dz[i])))
                fail_msg("logit %zu: %.9f", i, losses_grad(z, i));
        pf_tensor *all[] = {z, w, logp, sums};
        for (int i = 0; i < 4; i++) pf_tensor_free(all[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_start),
        cmocka_unit_test(test_pair_metrics),
        cmocka_unit_test(test_row_metrics),
        cmocka_unit_test(test_dpo_forms),
        cmocka_unit_test(test_aot_ties),
        cmocka_unit_test(test_cpo_bco),
        cmocka_unit_test(test_simpo_alpha_orpo),
        cmocka_unit_test(test_weighted),
        cmocka_unit_test(test_advantage),
        cmocka_unit_test(test_ld_sum),
        cmocka_unit_test(test_align),
        cmocka_unit_test(test_end_to_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
