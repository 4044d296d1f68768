/* What the losses do at their limits: constants, extreme values, wrong arguments, no memory. */
#include "losses.h"

/* ---- constants ---- */

static bool losses_is_constant(const char *name) {
    static const char *const names[] = {"ref_chosen", "ref_rejected", "len_chosen", "len_rejected",
                                        "weight",     "ref",          "label",      "kl",
                                        "reward",     "rewards",      "ranks",      "advantage"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) return true;
    return false;
}

/* Every constant of every loss, asked to collect a gradient, gets none, and the tensors beside it get theirs. */
static void test_constants(void **state) {
    (void)state;
    LOSSES_BOTH(k) {
        for (int i = 0; i < pf_op_count(); i++) {
            const pf_op_info *info = pf_op_at(i);
            if (!info->is_loss) continue;
            assert_true(*info->doc && *info->formula && *info->source);
            pf_tensor *constant[PF_MAX_INPUTS], *first = NULL;
            int n = 0;
            for (int p = 0; p < info->n_params; p++) {
                const pf_param *q = &info->params[p];
                bool single = strcmp(q->name, "kl") == 0;
                if (q->kind == PF_KIND_INDEX) losses_index(&k, q->name, (double[]){0, 1}, 2);
                if (q->kind == PF_KIND_NUMBER && !q->optional) losses_number(&k, q->name, 0.5);
                if (q->kind != PF_KIND_TENSOR && q->kind != PF_KIND_CONSTANT) continue;
                bool fixed = losses_is_constant(q->name);
                double v = fixed ? 1 : -1;
                pf_tensor *t = losses_tensor(&k, q->name, (double[]){v, v}, single ? 1 : 2, true);
                if (fixed) constant[n++] = t;
                if (!fixed && !first) first = t;
            }
            losses_run(&k, info->name);
            for (int c = 0; c < n; c++) assert_null(pf_tensor_grad(constant[c]));
            assert_non_null(pf_tensor_grad(first));
            losses_free(&k);
        }
    }
}

/* ---- extremes ---- */

static void test_extremes(void **state) {
    (void)state;
    static const char *const variants[] = {"sigmoid",  "hinge",    "nca_pair", "robust", "bco_pair",
                                           "apo_zero", "apo_down", "discopop", "cdpo",   "exo_pair"};
    static const char *const divergences[] = {"reverse_kl", "forward_kl", "js_divergence", "alpha_divergence"};
    LOSSES_BOTH(k) {
        for (size_t v = 0; v < sizeof variants / sizeof *variants; v++)
            for (int d = 0; d < 4; d++) {
                losses_t(&k, "policy_chosen", -1e4, -1, -5e3);
                losses_t(&k, "policy_rejected", -1, -1e4, -5e3);
                losses_c(&k, "ref_chosen", -5e3, -5e3, -1);
                losses_c(&k, "ref_rejected", -5e3, -5e3, -1);
                losses_text(&k, "variant", variants[v]);
                losses_text(&k, "f_divergence", divergences[d]);
                losses_number(&k, "label_smoothing", strchr("rce", variants[v][0]) ? 0.1 : 0);
                assert_true(isfinite(losses_run(&k, "dpo")));
                for (int side = 0; side < 2; side++)
                    for (size_t i = 0; i < 3; i++) assert_true(isfinite(losses_grad(k.arg[side].tensor, i)));
                losses_free(&k);
            }
        losses_t(&k, "policy_chosen", -1e-9, 0, -800);
        losses_t(&k, "policy_rejected", -800, -1e-9, 0);
        assert_true(isfinite(losses_run(&k, "orpo")));
        for (size_t i = 0; i < 3; i++) assert_true(isfinite(losses_grad(k.arg[0].tensor, i)));
        losses_free(&k);
        losses_t(&k, "positive", -800, -1); /* exponents of 800 and more */
        losses_t(&k, "negative", -1, -900);
        losses_expect(&k, "align", 799);
    }
}

/* ---- errors ---- */

static void losses_refused(losses_call *k, const char *loss, pf_status s, const char *text) {
    k->arg[k->n] = (pf_arg)PF_END;
    assert_null(pf_apply(k->ctx, loss, k->arg));
    support_fails(k->ctx, pf_errcode(k->ctx), s, text);
}

static void test_dpo_errors(void **state) {
    (void)state;
    static const struct {
        const char *variant;
        double eps;
        pf_status status;
        const char *text;
    } bad[] = {{"sigmoid", 0.1, PF_RANGE, "\"cdpo\""},
               {"hinge", 0.1, PF_RANGE, "hinge"},
               {"exo_pair", 0, PF_RANGE, "label_smoothing above 0"},
               {"robust", 0.5, PF_RANGE, "below 0.5"},
               {"cdpo", -0.1, PF_RANGE, "at least 0"},
               {"ipo", 0, PF_TYPE, "len_chosen and len_rejected"},
               {"sigmoid_norm", 0, PF_TYPE, "len_chosen and len_rejected"},
               {"sft", 0, PF_TYPE, "needs len_chosen"},
               {"dpo", 0, PF_NAME, "it is one of: sigmoid hinge ipo"}};
    LOSSES_BOTH(k) {
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
            losses_pairs(&k);
            losses_text(&k, "variant", bad[i].variant);
            losses_number(&k, "label_smoothing", bad[i].eps);
            losses_refused(&k, "dpo", bad[i].status, bad[i].text);
            losses_free(&k);
        }
        losses_pairs(&k);
        losses_c(&k, "weight", 1, 1, 1);
        losses_text(&k, "variant", "aot_unpaired");
        losses_refused(&k, "dpo", PF_TYPE, "takes no weight");
        losses_free(&k);
        losses_pairs(&k);
        losses_c(&k, "len_chosen", 3, 0, 2);
        losses_refused(&k, "dpo", PF_RANGE, "value 2 of len_chosen is 0");
        losses_free(&k);
        losses_pairs(&k);
        losses_number(&k, "betta", 1);
        losses_refused(&k, "dpo", PF_NAME, "did you mean \"beta\"");
        losses_free(&k);
        losses_t(&k, "policy_chosen", -1, -2);
        losses_t(&k, "policy_rejected", -1, -2, -3);
        losses_refused(&k, "dpo", PF_SHAPE, "policy_rejected must have shape [2], got [3]");
    }
}

static void test_other_errors(void **state) {
    (void)state;
    LOSSES_BOTH(k) {
        losses_t(&k, "policy", -1, -2);
        losses_c(&k, "ref", -1, -2);
        losses_c(&k, "label", 1, -1);
        losses_refused(&k, "kto", PF_RANGE, "value 2 of label is -1, expected 1 (desirable) or 0");
        losses_free(&k);
        losses_t(&k, "policy_chosen", -1);
        losses_t(&k, "policy_rejected", -2);
        losses_refused(&k, "cpo", PF_TYPE, "cpo_alpha = 0");
        losses_free(&k);
        losses_t(&k, "logp", -1, -2);
        losses_c(&k, "reward", 1, 0);
        losses_text(&k, "mode", "adv");
        losses_refused(&k, "rwr", PF_TYPE, "need prompt");
        losses_free(&k);
        losses_t(&k, "logp", -1, -2);
        losses_index(&k, "step", (double[]){0, 1}, 2);
        losses_c(&k, "advantage", 0.5);
        losses_refused(&k, "advantage", PF_TYPE, "\"temperature\" is missing");
        losses_number(&k, "temperature", 1);
        losses_refused(&k, "advantage", PF_RANGE, "token 2 belongs to step 2, but advantage has 1 values");
    }
}

/* ---- memory ---- */

/* the forms that finite differences cannot check, and sorting: every allocation may fail */
static pf_status losses_memory_run(pf_ctx *ctx, void *ud) {
    static const char *const constraint[] = {"boundary", "detached"};
    (void)ud;
    pf_status s = PF_OK;
    for (int i = 0; i < 3 && s == PF_OK; i++) {
        double v[] = {-0.5, -0.8, -0.7};
        pf_tensor *a = pf_tensor_from(ctx, PF_F32, 1, (int64_t[]){3}, v, 3);
        pf_tensor *b = pf_tensor_from(ctx, PF_F32, 1, (int64_t[]){3}, v, 3);
        if (a) pf_tensor_set_grad(a, true);
        pf_tensor *t =
            i == 2 ? pf_call(ctx, "dpo", PF_T("policy_chosen", a), PF_T("policy_rejected", b), PF_S("variant", "aot"))
                   : pf_call(ctx, "align", PF_T("positive", a), PF_T("negative", b), PF_S("constraint", constraint[i]));
        s = t ? pf_backward(t) : pf_errcode(ctx);
        pf_tensor_free(t);
        pf_tensor_free(a);
        pf_tensor_free(b);
    }
    return s;
}

static void test_memory(void **state) {
    (void)state;
    support_sweep(losses_memory_run, NULL, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_constants),    cmocka_unit_test(test_extremes), cmocka_unit_test(test_dpo_errors),
        cmocka_unit_test(test_other_errors), cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
