/* The losses against figures from outside: the table of reference values, and TRL's losses of a batch. */
#include <jansson.h>

#include "losses.h"

/* ---- the table of reference values ---- */

typedef struct losses_column {
    const char *row, *key; /* prefix of the row's name; input column */
    const char *arg;       /* argument; NULL: the column is a remark */
    char kind;             /* t tensor, c constant, n number */
} losses_column;

static const losses_column losses_columns[] = {
    {"dpo.", "pc", "policy_chosen", 't'},
    {"dpo.", "pr", "policy_rejected", 't'},
    {"dpo.", "rc", "ref_chosen", 'c'},
    {"dpo.", "rr", "ref_rejected", 'c'},
    {"dpo.", "len_c", "len_chosen", 'c'},
    {"dpo.", "len_r", "len_rejected", 'c'},
    {"dpo.", "beta", "beta", 'n'},
    {"dpo.", "eps", "label_smoothing", 'n'},
    {"dpo.", "tau", "tau", 'n'},
    {"dpo.", "alpha", "alpha", 'n'},
    {"kto", "logratio", "policy", 't'},
    {"kto", "kl_raw", "kl", 'c'},
    {"kto", "desirable", "label", 'c'},
    {"kto", "beta", "beta", 'n'},
    {"kto", "weight", "weight_desirable", 'n'},
    {"orpo", "avg_pc", "policy_chosen", 't'},
    {"orpo", "avg_pr", "policy_rejected", 't'},
    {"orpo", "nll", "nll", 't'},
    {"orpo", "beta", "beta", 'n'},
    {"simpo", "avg_pc", "policy_chosen", 't'},
    {"simpo", "avg_pr", "policy_rejected", 't'},
    {"simpo", "beta", "beta", 'n'},
    {"simpo", "gamma", "gamma", 'n'},
    {"aft.", "sp", "positive", 't'},
    {"aft.", "sn", "negative", 't'},
    {"aft.", "beta", "beta", 'n'},
    {"aft.", "T", NULL, 0},
    {"aft.", "s_rank_order", "scores", 't'},
    {"mml", "logps", "logp", 't'},
    {"mml", "beta", "beta", 'n'},
    {"rrhf.rank", "s", "scores", 't'},
    {"rrhf.rank", "r", "rewards", 'c'},
    {"pro.rank", "s", "scores", 't'},
    {"pro.rank", "r", "rewards", 'c'},
};

static size_t losses_values(json_t *v, double *out) {
    if (!json_is_array(v)) {
        out[0] = json_number_value(v);
        return 1;
    }
    for (size_t i = 0; i < json_array_size(v); i++) out[i] = json_number_value(json_array_get(v, i));
    return json_array_size(v);
}

static void losses_read_inputs(losses_call *k, const char *row, json_t *in) {
    const char *key;
    json_t *value;
    json_object_foreach(in, key, value) {
        const losses_column *col = NULL;
        for (size_t i = 0; i < sizeof losses_columns / sizeof *losses_columns; i++)
            if (strncmp(row, losses_columns[i].row, strlen(losses_columns[i].row)) == 0 &&
                strcmp(key, losses_columns[i].key) == 0)
                col = &losses_columns[i];
        if (!col) fail_msg("%s: unknown input \"%s\"", row, key);
        double v[16];
        if (!col->arg) continue;
        size_t n = losses_values(value, v);
        k->key[k->n] = strcmp(key, "s_rank_order") == 0 ? "s" : key; /* its gradient is called d_s */
        if (col->kind == 'n')
            losses_number(k, col->arg, v[0]);
        else
            losses_tensor(k, col->arg, v, n, col->kind == 't');
    }
}

/* the loss a row stands for, with the arguments that follow from its name */
static const char *losses_of_row(losses_call *k, const char *row, json_t *in) {
    static const char *const aft[][3] = {{"aft.A", "none", "align"},
                                         {"aft.DC", "detached", "align"},
                                         {"aft.BC", "boundary", "align"},
                                         {"aft.BC_Tlive", "boundary", "align"},
                                         {"aft.RBC(reconstructed,T detached)", "boundary", "rank"}};
    static const char *const plain[][2] = {
        {"orpo", "orpo"}, {"simpo", "simpo"}, {"mml", "mml"}, {"rrhf.rank", "rrhf"}, {"pro.rank", "pro"}};
    for (int i = 0; i < 5; i++)
        if (strcmp(row, plain[i][0]) == 0) return plain[i][1];
    for (int i = 0; i < 5; i++)
        if (strcmp(row, aft[i][0]) == 0) {
            losses_text(k, "constraint", aft[i][1]);
            if (strstr(row, "Tlive")) losses_number(k, "detach_T", 0);
            if (aft[i][2][0] == 'r') losses_c(k, "ranks", 1, 2, 3);
            return aft[i][2];
        }
    if (strcmp(row, "kto") == 0) {
        losses_number(k, "weight_undesirable", json_number_value(json_object_get(in, "weight")));
        losses_c(k, "ref", 0);
        return "kto";
    }
    if (strncmp(row, "dpo.", 4) != 0) fail_msg("unknown row \"%s\"", row);
    const char *divergence = strchr(row, '+');
    if (divergence) losses_text(k, "f_divergence", divergence + 1);
    losses_text(k, "variant", divergence ? "sigmoid" : strcmp(row, "dpo.ipo_avg") == 0 ? "ipo" : row + 4);
    return "dpo";
}

static void losses_check_outputs(losses_call *k, const char *row, json_t *out, double loss) {
    const char *key;
    json_t *value;
    double tol = losses_tolerance(k->dtype), want[16];
    json_object_foreach(out, key, value) {
        size_t n = losses_values(value, want);
        if (strcmp(key, "loss") == 0 || strcmp(key, "loss_mean") == 0) {
            losses_close(loss, want[0], tol, "%s", row);
        } else if (strcmp(key, "log_odds") == 0) {
            losses_close(losses_metric(k->ctx, "log_odds_chosen"), want[0], tol, "%s log_odds", row);
        } else {
            int i = 0;
            while (i < k->n && !(k->key[i] && strncmp(key, "d_", 2) == 0 && strcmp(key + 2, k->key[i]) == 0)) i++;
            if (i == k->n) fail_msg("%s: unknown output \"%s\"", row, key);
            assert_int_equal(pf_tensor_numel(k->arg[i].tensor), n);
            for (size_t j = 0; j < n; j++)
                losses_close(losses_grad(k->arg[i].tensor, j), want[j], tol, "%s %s[%zu]", row, key, j);
        }
    }
}

/* the rows of a weighted sum: dpo + lam nll */
static double losses_rise_edit(losses_call *k, json_t *in) {
    double pc, pr, rc, rr, len, beta, lam;
    const char *mode;
    if (json_unpack_ex(in, NULL, JSON_STRICT, "{s:F,s:F,s:F,s:F,s:F,s:F,s:F,s:s}", "pc", &pc, "pr", &pr, "rc", &rc,
                       "rr", &rr, "len_c", &len, "beta", &beta, "lam", &lam, "nll", &mode) != 0)
        fail_msg("rise_edit.dpo+nll: unexpected inputs");
    k->key[0] = "pc";
    pf_tensor *chosen = losses_t(k, "policy_chosen", pc);
    k->key[1] = "pr";
    losses_t(k, "policy_rejected", pr);
    losses_c(k, "ref_chosen", rc);
    losses_c(k, "ref_rejected", rr);
    losses_number(k, "beta", beta);
    pf_tensor *one = pf_tensor_from(k->ctx, k->dtype, 0, NULL, (double[]){strcmp(mode, "mean") == 0 ? 1 / len : 1}, 1);
    pf_tensor *share = pf_tensor_from(k->ctx, k->dtype, 0, NULL, (double[]){lam}, 1);
    pf_tensor *dpo = losses_apply(k, "dpo"), *logp = pf_call(k->ctx, "mul", PF_T("x", chosen), PF_T("y", one));
    pf_tensor *nll = pf_call(k->ctx, "nll", PF_T("logp", logp));
    pf_tensor *part = pf_call(k->ctx, "mul", PF_T("x", nll), PF_T("y", share));
    pf_tensor *sum = pf_call(k->ctx, "add", PF_T("x", dpo), PF_T("y", part));
    assert_non_null(sum);
    double v = pf_tensor_item(sum);
    support_ok(k->ctx, pf_backward(sum));
    pf_tensor *all[] = {one, share, dpo, logp, nll, part, sum};
    for (int i = 0; i < 7; i++) pf_tensor_free(all[i]);
    return v;
}

static void losses_row(losses_call *k, char *line) {
    char *save, *row = strtok_r(line, "\t", &save), *in_text = strtok_r(NULL, "\t", &save);
    json_t *in = json_loads(in_text, JSON_DECODE_INT_AS_REAL, NULL), *out = json_loads(save, 0, NULL);
    if (!in || !out) fail_msg("%s: not JSON", row);
    memset(k->key, 0, sizeof k->key);
    double loss;
    if (strcmp(row, "rise_edit.dpo+nll") == 0) {
        loss = losses_rise_edit(k, in);
    } else {
        losses_read_inputs(k, row, in);
        loss = losses_run(k, losses_of_row(k, row, in));
    }
    losses_check_outputs(k, row, out, loss);
    for (int i = 0; i < k->n; i++)
        if (k->arg[i].tensor && !pf_tensor_needs_grad(k->arg[i].tensor)) assert_null(pf_tensor_grad(k->arg[i].tensor));
    losses_free(k);
    json_decref(in);
    json_decref(out);
}

static void test_reference_table(void **state) {
    (void)state;
    char path[512], line[2048];
    const char *root = getenv("POFIT_TESTDATA");
    if (!root || !*root) {
        printf("SKIP reference_table: POFIT_TESTDATA is not set\n");
        skip();
    }
    snprintf(path, sizeof path, "%s/golden/losses.tsv", root);
    for (int d = 0; d < 2; d++) {
        pf_ctx *ctx = support_open();
        losses_call k = {.ctx = ctx, .dtype = losses_dtypes[d]};
        FILE *f = fopen(path, "r");
        if (!f) fail_msg("cannot open %s", path);
        int rows = 0;
        for (; fgets(line, sizeof line, f); rows++) losses_row(&k, line);
        fclose(f);
        assert_int_equal(rows, 113);
        support_close(ctx);
    }
}

/* ---- TRL's losses of a batch ---- */

static json_t *losses_fixture(const char *path) {
    json_t *j = json_load_file(path, JSON_DECODE_INT_AS_REAL, NULL);
    if (!j) fail_msg("cannot read %s; the tests run in the project's directory", path);
    return j;
}

static double losses_field(json_t *object, const char *key) {
    json_t *v = json_object_get(object, key);
    if (!json_is_number(v)) fail_msg("\"%s\" is missing", key);
    return json_number_value(v);
}

/* the batch of llama_a as arguments of dpo */
static void losses_trl_batch(losses_call *k, json_t *pairs) {
    static const char *const from[] = {"policy_chosen", "policy_rejected", "ref_chosen", "ref_rejected"};
    size_t n = json_array_size(pairs);
    double v[16], len[2][16];
    assert_in_range(n, 2, 16);
    for (int c = 0; c < 4; c++) {
        for (size_t i = 0; i < n; i++) v[i] = losses_field(json_array_get(pairs, i), from[c]);
        losses_tensor(k, from[c], v, n, c < 2);
    }
    for (size_t i = 0; i < n; i++)
        for (int side = 0; side < 2; side++)
            len[side][i] =
                (double)json_array_size(json_object_get(json_array_get(pairs, i), side ? "rejected" : "chosen"));
    losses_tensor(k, "len_chosen", len[0], n, false);
    losses_tensor(k, "len_rejected", len[1], n, false);
}

/* what a case of TRL's options means to one dpo call; false: it does not concern the loss as a function of sums */
static bool losses_trl_options(losses_call *k, json_t *options) {
    const char *key;
    json_t *value;
    json_object_foreach(options, key, value) {
        if (strcmp(key, "loss_type") == 0) {
            if (json_array_size(value) != 1) return false;
            losses_text(k, "variant", json_string_value(json_array_get(value, 0)));
        } else if (strcmp(key, "f_divergence_type") == 0) {
            losses_text(k, "f_divergence", json_string_value(value));
        } else if (strcmp(key, "label_smoothing") == 0) {
            losses_number(k, "label_smoothing", json_number_value(value));
        } else if (strcmp(key, "discopop_tau") == 0) {
            losses_number(k, "tau", json_number_value(value));
        } else {
            return false;
        }
    }
    return true;
}

static void test_trl_batch(void **state) {
    (void)state;
    json_t *llama = losses_fixture("tests/golden/llama_a.json"), *trl = losses_fixture("tests/golden/trl_losses.json");
    json_t *pairs = json_object_get(json_object_get(llama, "dpo"), "pairs"), *item, *metrics;
    pf_ctx *ctx = support_open();
    losses_call k = {.ctx = ctx, .dtype = PF_F64};
    const char *name;
    int checked = 0;
    json_object_foreach(json_object_get(trl, "losses"), name, item) {
        losses_trl_batch(&k, pairs);
        losses_number(&k, "beta", losses_field(trl, "beta"));
        if (losses_trl_options(&k, json_object_get(item, "options"))) {
            losses_close(losses_run(&k, "dpo"), losses_field(item, "loss"), 1e-9, "%s", name);
            checked++;
        }
        losses_free(&k);
    }
    assert_int_equal(checked, 19); /* all but ld_alpha, wpo and the mix */
    losses_trl_batch(&k, pairs);
    losses_run(&k, "dpo");
    metrics = json_object_get(trl, "metrics_of_sigmoid");
    json_object_foreach(metrics, name, item) {
        if (strncmp(name, "rewards/", 8) != 0 && strncmp(name, "logps/", 6) != 0) continue;
        losses_close(losses_metric(ctx, name), json_number_value(item), 1e-9, "%s", name);
    }
    losses_free(&k);
    json_decref(llama);
    json_decref(trl);
    support_close(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_reference_table), cmocka_unit_test(test_trl_batch)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
