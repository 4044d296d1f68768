/* The trainer on a toy: optimisers against PyTorch, schedules, order of the data, groups, values that are not finite,
 * threads, failing memory. */
#include <jansson.h>

#include "kernel/kernel.h"
#include "train_support.h"

/* ---- figures of PyTorch ---- */

/* golden/optimizers_torch113.json of the reference data */
static json_t *golden_load(const char *test) {
    const char *root = getenv("POFIT_TESTDATA");
    if (!root || !*root) {
        printf("SKIP %s: POFIT_TESTDATA is not set\n", test);
        return NULL;
    }
    char path[512];
    snprintf(path, sizeof path, "%s/golden/optimizers_torch113.json", root);
    json_t *v = json_load_file(path, 0, NULL);
    assert_non_null(v);
    return v;
}

static double golden_number(const json_t *obj, const char *key, double otherwise) {
    json_t *v = json_object_get(obj, key);
    return v ? json_number_value(v) : otherwise;
}

static double golden_at(const json_t *list, size_t i) { return json_number_value(json_array_get(list, i)); }

static pf_trainer_options golden_options(const json_t *run) {
    const json_t *p = json_object_get(run, "params"), *betas = json_object_get(p, "betas");
    pf_trainer_options o = pf_trainer_defaults();
    bool adamw = strcmp(json_string_value(json_object_get(run, "optimizer")), "AdamW") == 0;
    o.optimizer = adamw ? "adamw" : "sgd";
    o.lr = golden_number(p, "lr", -1);
    o.weight_decay = golden_number(p, "weight_decay", 0);
    o.momentum = golden_number(p, "momentum", 0);
    if (betas) {
        o.beta1 = golden_at(betas, 0);
        o.beta2 = golden_at(betas, 1);
        o.eps = golden_number(p, "eps", -1);
    }
    json_t *clip = json_object_get(run, "clip_grad_norm");
    o.clip = json_is_null(clip) ? 0 : json_number_value(clip);
    return o;
}

static void golden_close(const char *what, double got, double want, double tol) {
    if (!(fabs(got - want) <= tol * fmax(fabs(want), 1e-3))) fail_msg("%s: got %.17g, expected %.17g", what, got, want);
}

/* the largest difference against the largest value */
static void golden_weights(const char *what, const pf_tensor *w, const json_t *want, double tol) {
    double far = 0, most = 0;
    for (size_t i = 0; i < pfi_numel(w); i++) {
        far = fmax(far, fabs(pfi_get(w, i) - golden_at(want, i)));
        most = fmax(most, fabs(golden_at(want, i)));
    }
    if (!(far <= tol * most)) fail_msg("%s: weights are %g away, of %g", what, far, most);
}

static void golden_run(pf_ctx *ctx, const json_t *run) {
    const char *dtype = json_string_value(json_object_get(run, "dtype"));
    bool f64 = strcmp(dtype, "torch.float64") == 0;
    const json_t *w0 = json_object_get(run, "w0"), *grads = json_object_get(run, "grads");
    const json_t *after = json_object_get(run, "w_after_step"), *norms = json_object_get(run, "pre_clip_norms");
    const double tol = f64 ? 1e-13 : 1e-6;
    int64_t n = (int64_t)json_array_size(w0);
    pf_tensor *w = pf_tensor_new(ctx, f64 ? PF_F64 : PF_F32, 1, &n);
    strcpy(w->name, "w");
    for (size_t i = 0; i < (size_t)n; i++) pfi_set(w, i, golden_at(w0, i));
    support_ok(ctx, pf_tensor_set_grad(w, true));
    pf_trainer_options o = golden_options(run);
    pf_trainer *t;
    support_ok(ctx, pfi_trainer_make(ctx, &w, 1, &o, &t));
    for (size_t step = 0; step < json_array_size(grads); step++) {
        const json_t *g = json_array_get(grads, step), *want = json_array_get(after, step);
        pf_step_info info;
        assert_non_null(pfi_grad_of(w));
        for (size_t i = 0; i < (size_t)n; i++) pfi_set(w->grad, i, golden_at(g, i));
        support_ok(ctx, pf_trainer_step(t, -1, &info));
        assert_int_equal(info.step, step + 1);
        assert_false(info.skipped);
        if (json_is_array(norms)) golden_close("norm", info.grad_norm, golden_at(norms, step), tol);
        golden_weights(o.optimizer, w, want, tol);
    }
    pf_trainer_free(t);
    pf_tensor_free(w);
}

static void optimisers_follow_torch(void **state) {
    (void)state;
    json_t *golden = golden_load("optimisers_follow_torch"), *run;
    if (!golden) skip();
    pf_ctx *ctx = support_open();
    size_t i;
    int seen = 0;
    json_array_foreach(json_object_get(golden, "trajectories"), i, run) {
        const char *name = json_string_value(json_object_get(run, "optimizer"));
        if (strcmp(name, "AdamW") != 0 && strcmp(name, "SGD") != 0 && strcmp(name, "SGD plain") != 0) continue;
        golden_run(ctx, run);
        seen++;
    }
    assert_int_equal(seen, 8);
    json_decref(golden);
    support_close(ctx);
}

static void schedules_follow_torch(void **state) {
    (void)state;
    json_t *golden = golden_load("schedules_follow_torch"), *s;
    if (!golden) skip();
    pf_trainer_options o = {.lr = 1, .steps = 20};
    size_t i;
    int seen = 0;
    json_array_foreach(json_object_get(golden, "schedules"), i, s) {
        const char *name = json_string_value(json_object_get(s, "scheduler"));
        const json_t *want = json_object_get(s, "lr_by_step");
        bool cosine = strcmp(name, "CosineAnnealingLR(T_max=20,eta_min=0)") == 0;
        if (!cosine && strcmp(name, "PolynomialLR(20,power=1)") != 0) continue;
        seen++;
        for (size_t k = 0; k < json_array_size(want); k++)
            golden_close(name, pfi_train_rate(&o, cosine ? PFI_COSINE : PFI_LINEAR, (int64_t)k), golden_at(want, k),
                         1e-12);
    }
    assert_int_equal(seen, 2);
    json_decref(golden);
}

/* transformers.get_scheduler(name, warm-up 4, 12 steps), by its formulas */
static void schedules_warm_up(void **state) {
    (void)state;
    static const double linear[] = {0, .5, 1, 1.5, 2, 1.75, 1.5, 1.25, 1, .75, .5, .25, 0, 0};
    pf_trainer_options o = {.lr = 2, .steps = 12, .warmup = 4};
    for (int k = 0; k < PFI_COUNT(linear); k++) {
        golden_close("linear", pfi_train_rate(&o, PFI_LINEAR, k), linear[k], 1e-15);
        golden_close("constant", pfi_train_rate(&o, PFI_CONSTANT, k), fmin(2, k * 0.5), 1e-15);
    }
    golden_close("cosine", pfi_train_rate(&o, PFI_COSINE, 3), 1.5, 1e-15);
    golden_close("cosine", pfi_train_rate(&o, PFI_COSINE, 6), 1 + sqrt(0.5), 1e-15);
    golden_close("cosine", pfi_train_rate(&o, PFI_COSINE, 8), 1, 1e-15);
    golden_close("cosine", pfi_train_rate(&o, PFI_COSINE, 12), 0, 1e-15);
    golden_close("cosine", pfi_train_rate(&o, PFI_COSINE, 20), 0, 1e-15);
}

/* ---- order ---- */

static void order_is_a_permutation(void **state) {
    (void)state;
    bool seen[300], moved = false;
    for (size_t n = 1; n < 300; n += n < 70 ? 1 : 17) {
        memset(seen, 0, sizeof seen);
        for (size_t i = 0; i < n; i++) {
            size_t k = pfi_shuffled(7, 3, n, i);
            assert_true(k < n && !seen[k]);
            seen[k] = true;
            moved |= k != pfi_shuffled(7, 4, n, i);
        }
    }
    assert_true(moved);
    assert_true(pfi_shuffled(1, 0, 1000000007, 5) != pfi_shuffled(2, 0, 1000000007, 5));
}

/* every one of the 24 orders of 4 items comes up about as often: 4800 epochs, 200 expected, 6 standard deviations */
static void order_is_fair(void **state) {
    (void)state;
    int count[256] = {0}, orders = 0;
    for (uint64_t epoch = 0; epoch < 4800; epoch++) {
        size_t code = 0;
        for (size_t i = 0; i < 4; i++) code = 4 * code + pfi_shuffled(99, epoch, 4, i);
        count[code]++;
    }
    for (int i = 0; i < 256; i++) {
        if (!count[i]) continue;
        orders++;
        assert_in_range(count[i], 200 - 84, 200 + 84);
    }
    assert_int_equal(orders, 24);
}

/* ---- groups ---- */

static void groups_by_first_pattern(void **state) {
    (void)state;
    static const pf_param_group groups[] = {{"*norm*", 1, 0}, {"layer.1.*", 0, 0.5}, {"layer.*", 0.5, 0.25}};
    pf_ctx *ctx = support_open();
    toy t, before;
    support_ok(ctx, toy_make(ctx, 1, &t));
    support_ok(ctx, toy_make(ctx, 1, &before));
    pf_trainer_options o = pf_trainer_defaults();
    o.optimizer = "sgd";
    o.weight_decay = 9;
    o.clip = 0;
    o.lr = 0.5;
    o.groups = groups;
    o.n_groups = 3;
    pf_trainer *trainer;
    support_ok(ctx, pfi_trainer_make(ctx, t.w, TOY_N, &o, &trainer));
    assert_false(t.w[1]->needs_grad);
    for (int i = 0; i < TOY_N; i++) toy_set_grad(&t, i, 2);
    pf_step_info info;
    support_ok(ctx, pf_trainer_step(trainer, -1, &info));
    golden_close("norm without the frozen one", info.grad_norm, sqrt(4 * 17), 1e-12);
    for (size_t k = 0; k < 12; k++) {
        double w = pfi_get(before.w[0], k);
        golden_close("layer.0", pfi_get(t.w[0], k), w - 0.25 * (2 + 0.25 * w), 1e-6);
    }
    for (size_t k = 0; k < 4; k++) assert_true(pfi_get(t.w[1], k) == pfi_get(before.w[1], k));
    for (size_t k = 0; k < 5; k++) golden_close("norm", pfi_get(t.w[2], k), pfi_get(before.w[2], k) - 1, 1e-6);
    pf_trainer_free(trainer);
    assert_true(t.w[1]->needs_grad);
    toy_free(&t);
    toy_free(&before);
    support_close(ctx);
}

/* a parameter that a step does not reach is left alone, decay included, and its own count stands still */
static void no_gradient_no_update(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    toy t, before;
    support_ok(ctx, toy_make(ctx, 1, &t));
    support_ok(ctx, toy_make(ctx, 1, &before));
    pf_trainer_options o = pf_trainer_defaults();
    pf_trainer *trainer;
    support_ok(ctx, pfi_trainer_make(ctx, t.w, TOY_N, &o, &trainer));
    toy_set_grad(&t, 0, 1);
    support_ok(ctx, pf_trainer_step(trainer, -1, NULL));
    for (size_t k = 0; k < 4; k++) assert_true(pfi_get(t.w[1], k) == pfi_get(before.w[1], k));
    assert_int_equal(trainer->item[0].updates, 1);
    assert_int_equal(trainer->item[1].updates, 0);
    pf_trainer_free(trainer);
    toy_free(&t);
    toy_free(&before);
    support_close(ctx);
}

/* ---- values that are not finite ---- */

static pf_tensor *bad_loss(pf_ctx *ctx, double value) { return pf_tensor_from(ctx, PF_F32, 0, NULL, &value, 1); }

static void bad_values_skip_and_stop(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    toy t, before;
    support_ok(ctx, toy_make(ctx, 1, &t));
    support_ok(ctx, toy_make(ctx, 1, &before));
    pf_trainer_options o = pf_trainer_defaults();
    o.bad_steps = 3;
    pf_trainer *trainer;
    pf_step_info info;
    support_ok(ctx, pfi_trainer_make(ctx, t.w, TOY_N, &o, &trainer));
    pf_tensor *nan_loss = bad_loss(ctx, (double)NAN), *inf_loss = bad_loss(ctx, HUGE_VAL);
    support_ok(ctx, pf_trainer_accumulate(trainer, nan_loss, 0.5));
    support_ok(ctx, pf_trainer_step(trainer, -1, &info));
    assert_true(info.skipped && isnan(info.loss) && info.step == 1);
    assert_string_equal(info.what, "loss");
    toy_set_grad(&t, 0, 1);
    toy_set_grad(&t, 1, 1);
    pfi_set(t.w[1]->grad, 3, -HUGE_VAL);
    toy_set_grad(&t, 2, (double)NAN);
    support_ok(ctx, pf_trainer_step(trainer, -1, &info));
    assert_true(info.skipped && info.step == 2);
    assert_string_equal(info.what, "layer.1.weight");
    assert_null(t.w[0]->grad);
    assert_true(toy_equal(&t, &before));
    support_ok(ctx, toy_step(&t, trainer, &info)); /* a good one starts the count anew */
    assert_true(!info.skipped && info.step == 3 && isfinite(info.loss));
    assert_string_equal(info.what, "");
    for (int k = 0; k < 2; k++) {
        support_ok(ctx, pf_trainer_accumulate(trainer, inf_loss, 1));
        support_ok(ctx, pf_trainer_step(trainer, -1, &info));
    }
    toy_set_grad(&t, 2, (double)NAN);
    support_fails(ctx, pf_trainer_step(trainer, -1, &info), PF_NONFINITE, "last 3 steps (4 to 6)");
    assert_non_null(strstr(pf_errmsg(ctx), "gradient of \"norm.weight\""));
    assert_int_equal(info.step, 6);
    pf_tensor_free(nan_loss);
    pf_tensor_free(inf_loss);
    pf_trainer_free(trainer);
    toy_free(&t);
    toy_free(&before);
    support_close(ctx);
}

/* ---- accumulation, threads ---- */

static void parts_add_up(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    toy a, b;
    pf_trainer_options o = pf_trainer_defaults();
    pf_trainer *ta, *tb;
    pf_step_info ia, ib;
    support_ok(ctx, toy_make(ctx, 1, &a));
    support_ok(ctx, toy_make(ctx, 1, &b));
    support_ok(ctx, pfi_trainer_make(ctx, a.w, TOY_N, &o, &ta));
    support_ok(ctx, pfi_trainer_make(ctx, b.w, TOY_N, &o, &tb));
    for (int part = 0; part < 2; part++) {
        pf_tensor *loss = toy_loss(&a);
        support_ok(ctx, pf_trainer_accumulate(ta, loss, 0.5));
        pf_tensor_free(loss);
    }
    support_ok(ctx, pf_trainer_step(ta, -1, &ia));
    support_ok(ctx, toy_step(&b, tb, &ib));
    golden_close("loss", ia.loss, ib.loss, 1e-6);
    golden_close("norm", ia.grad_norm, ib.grad_norm, 1e-6);
    for (size_t k = 0; k < 12; k++) golden_close("weight", pfi_get(a.w[0], k), pfi_get(b.w[0], k), 1e-6);
    pf_trainer_free(ta);
    pf_trainer_free(tb);
    toy_free(&a);
    toy_free(&b);
    support_close(ctx);
}

static void threads_change_nothing(void **state) {
    (void)state;
    static const char *const optimizer[] = {"adamw", "sgd", "adamw_8bit"};
    for (int k = 0; k < PFI_COUNT(optimizer); k++) {
        toy t[4];
        pf_ctx *ctx = support_open();
        double norm[4] = {0};
        for (int threads = 1; threads <= 3; threads++) {
            pf_trainer_options o = pf_trainer_defaults();
            o.optimizer = optimizer[k];
            o.momentum = 0.9;
            pf_trainer *trainer;
            pf_step_info info;
            support_ok(ctx, pf_set_threads(ctx, threads));
            support_ok(ctx, toy_make_scaled(ctx, PF_F32, 5, 20011, &t[threads]));
            support_ok(ctx, pfi_trainer_make(ctx, t[threads].w, TOY_N, &o, &trainer));
            for (int step = 0; step < 2; step++) {
                for (int i = 0; i < TOY_N; i++) toy_set_grad(&t[threads], i, 0.1 * (step + 1));
                for (size_t j = 0; j < 240000; j++)
                    pfi_set(t[threads].w[0]->grad, j, pfi_random_normal(1, (uint64_t)step, j));
                support_ok(ctx, pf_trainer_step(trainer, -1, &info));
            }
            norm[threads] = info.grad_norm;
            assert_true(norm[threads] == norm[1] && toy_equal(&t[threads], &t[1]));
            pf_trainer_free(trainer);
        }
        for (int threads = 1; threads <= 3; threads++) toy_free(&t[threads]);
        support_close(ctx);
    }
}

/* ---- moments of 8 bits ---- */

enum { EIGHT_TIMES = 1003 }; /* 12036, 4012 and 5015 values: the second keeps its moments as they are */

static pf_trainer *eight_open(pf_ctx *ctx, const char *optimizer, toy *t) {
    pf_trainer_options o = pf_trainer_defaults();
    pf_trainer *trainer;
    o.optimizer = optimizer;
    o.lr = 1e-2;
    o.weight_decay = 0;
    o.clip = 0;
    support_ok(ctx, toy_make_scaled(ctx, PF_F32, 5, EIGHT_TIMES, t));
    support_ok(ctx, pfi_trainer_make(ctx, t->w, TOY_N, &o, &trainer));
    return trainer;
}

static void eight_bits_take_a_quarter(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    toy t;
    pf_trainer *trainer = eight_open(ctx, "adamw_8bit", &t);
    for (int i = 0; i < TOY_N; i++) {
        const pfi_train_item *item = &trainer->item[i];
        const size_t n = pfi_numel(t.w[i]);
        assert_true(!item->m_scale == (n < 4096));
        if (!item->m_scale) continue;
        assert_true(item->v->st->bytes + item->v_scale->st->bytes < n + n / 50 + 512);
        assert_true(item->m->st->bytes + item->m_scale->st->bytes < n + n / 50 + 512);
    }
    pf_trainer_free(trainer);
    toy_free(&t);
    support_close(ctx);
}

/* gradients of a square around 1, of a size that differs by places, in noise */
static void eight_gradients(const toy *t, int step) {
    for (int i = 0; i < TOY_N; i++) {
        pf_tensor *g = pfi_grad_of(t->w[i]);
        for (size_t k = 0; k < pfi_numel(g); k++)
            pfi_set(g, k,
                    pow(10, -(double)(k % 7) / 2) *
                        (pfi_get(t->w[i], k) - 1 + 0.5 * pfi_random_normal(3, (uint64_t)step, k)));
    }
}

/* The values of the codes as published: means of neighbours among boundaries that are even from 0.1 to 1, 2^i of them
 * in the power of ten i (of both signs, or twice as many), 0 and 1. Ascending. */
static void eight_map(double value[256], bool is_signed) {
    int n = 0;
    value[n++] = 0;
    value[n++] = 1;
    for (int i = 0; i < 7; i++) {
        const double parts = pow(2, is_signed ? i : i + 1);
        for (double k = 0; k < parts; k++) {
            const double low = 0.1 + 0.9 * k / parts, high = 0.1 + 0.9 * (k + 1) / parts;
            value[n++] = pow(10, i - 6) * (low + high) / 2;
            if (is_signed) value[n] = -value[n - 1], n++;
        }
    }
    assert_int_equal(n, 256);
    for (int a = 1; a < 256; a++)
        for (int b = a; b > 0 && value[b - 1] > value[b]; b--) {
            const double x = value[b];
            value[b] = value[b - 1];
            value[b - 1] = x;
        }
}

/* a block's moment, or the root of it */
typedef struct eight_block {
    const double *value; /* of the codes */
    const uint8_t *code;
    const float *scale;
} eight_block;

static eight_block eight_at(const pf_tensor *codes, const pf_tensor *scale, size_t block, const double *value) {
    return (eight_block){value, (const uint8_t *)pfi_data(codes) + 256 * block, pfi_f32(scale) + block};
}

static double eight_get(const eight_block *b, size_t k) { return b->value[b->code[k]] * (double)*b->scale; }

/* is what a block holds the nearest that it can hold of x? */
static void eight_nearest(const eight_block *b, const double *x, size_t n) {
    double most = 0;
    for (size_t k = 0; k < n; k++) most = fmax(most, fabs(x[k]));
    golden_close("scale", (double)*b->scale, most, 1e-6);
    for (size_t k = 0; k < n; k++) {
        double best = HUGE_VAL;
        for (int c = 0; c < 256; c++) best = fmin(best, fabs(b->value[c] * most - x[k]));
        const double far = fabs(eight_get(b, k) - x[k]);
        if (!(far <= best + 2e-6 * fabs(x[k]))) fail_msg("%g is held as %g", x[k], eight_get(b, k));
    }
}

/* A step from what is held is AdamW's, and what is held then is the nearest that there is to AdamW's moments. */
static void eight_step(pf_trainer *t, int step) {
    const pfi_train_item *item = &t->item[0];
    const size_t n = pfi_numel(item->w);
    double first[256], second[256], *m = malloc(3 * n * sizeof *m), *v = m + n, *w = v + n, far = 0, most = 0;
    eight_map(first, true);
    eight_map(second, false);
    for (size_t k = 0; k < n; k++) {
        const eight_block bm = eight_at(item->m, item->m_scale, k / 256, first);
        const eight_block bv = eight_at(item->v, item->v_scale, k / 256, second);
        const double g = pfi_get(item->w->grad, k), root = eight_get(&bv, k % 256);
        m[k] = 0.9 * eight_get(&bm, k % 256) + 0.1 * g;
        v[k] = sqrt(0.999 * root * root + 0.001 * g * g);
        w[k] =
            pfi_get(item->w, k) - 1e-2 * m[k] / (1 - pow(0.9, step)) / (v[k] / sqrt(1 - pow(0.999, step)) + t->o.eps);
    }
    support_ok(t->ctx, pf_trainer_step(t, -1, NULL));
    for (size_t k = 0; k < n; k++) {
        far = fmax(far, fabs(pfi_get(item->w, k) - w[k]));
        most = fmax(most, fabs(w[k]));
    }
    if (!(far <= 1e-6 * most)) fail_msg("step %d: weights are %g away, of %g", step, far, most);
    for (size_t at = 0; at < n; at += 256) {
        const eight_block bm = eight_at(item->m, item->m_scale, at / 256, first);
        const eight_block bv = eight_at(item->v, item->v_scale, at / 256, second);
        eight_nearest(&bm, m + at, n - at < 256 ? n - at : 256);
        eight_nearest(&bv, v + at, n - at < 256 ? n - at : 256);
    }
    free(m);
}

/* the first step, from nothing, is that of AdamW bit for bit */
static void eight_bits_are_adamw_from_what_they_hold(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    toy a, b;
    pf_trainer *ta = eight_open(ctx, "adamw", &a), *tb = eight_open(ctx, "adamw_8bit", &b);
    for (int step = 1; step <= 20; step++) {
        if (step == 1) eight_gradients(&a, step);
        eight_gradients(&b, step);
        if (step == 1) support_ok(ctx, pf_trainer_step(ta, -1, NULL));
        eight_step(tb, step);
        if (step == 1) assert_true(toy_equal(&a, &b));
    }
    pf_trainer_free(ta);
    pf_trainer_free(tb);
    toy_free(&a);
    toy_free(&b);
    support_close(ctx);
}

/* the first moment after gradients of all sizes */
static void eight_bits_of_all_sizes(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    toy t;
    pf_trainer *trainer = eight_open(ctx, "adamw_8bit", &t);
    const pfi_train_item *item = &trainer->item[0];
    const size_t n = pfi_numel(item->w);
    double value[256], *m = malloc(n * sizeof *m);
    eight_map(value, true);
    toy_set_grad(&t, 0, 0);
    for (size_t k = 0; k < n; k++) {
        pfi_set(t.w[0]->grad, k, pfi_random_normal(3, 1, k) * pow(10, -8 * pfi_random_uniform(3, 2, k)));
        m[k] = 0.1 * pfi_get(t.w[0]->grad, k);
    }
    support_ok(ctx, pf_trainer_step(trainer, -1, NULL));
    for (size_t at = 0; at < n; at += 256) {
        const eight_block b = eight_at(item->m, item->m_scale, at / 256, value);
        eight_nearest(&b, m + at, n - at < 256 ? n - at : 256);
    }
    free(m);
    pf_trainer_free(trainer);
    toy_free(&t);
    support_close(ctx);
}

/* a second moment that is nothing beside its block's largest must not become 0 where the first does not */
static void eight_bits_make_no_leaps(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    toy t;
    pf_trainer *trainer = eight_open(ctx, "adamw_8bit", &t);
    for (int step = 0; step < 60; step++) {
        const double before = pfi_get(t.w[0], 7);
        toy_set_grad(&t, 0, 0);
        if (step == 0) pfi_set(t.w[0]->grad, 0, 1e4); /* the second moment remembers it longer than the first */
        if (step == 50) pfi_set(t.w[0]->grad, 7, 1e-3);
        support_ok(ctx, pf_trainer_step(trainer, -1, NULL));
        if (!(fabs(pfi_get(t.w[0], 7) - before) <= 0.0101))
            fail_msg("step %d moves a weight by %g at a rate of 0.01", step + 1, pfi_get(t.w[0], 7) - before);
    }
    pf_trainer_free(trainer);
    toy_free(&t);
    support_close(ctx);
}

/* ---- refusals ---- */

static void refuse(toy *t, pf_trainer_options o, pf_status s, const char *text) {
    pf_trainer *trainer;
    support_fails(t->ctx, pfi_trainer_make(t->ctx, t->w, TOY_N, &o, &trainer), s, text);
    assert_null(trainer);
}

static void bad_options_are_refused(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    toy t;
    support_ok(ctx, toy_make(ctx, 1, &t));
    pf_trainer_options ok = pf_trainer_defaults(), o;
#define REFUSE(set, s, text) (o = ok, set, refuse(&t, o, s, text))
    REFUSE(o.optimizer = "adam", PF_NAME, "\"adam\"");
    REFUSE(o.optimizer = NULL, PF_NAME, "adamw, sgd, adamw_8bit");
    REFUSE(o.schedule = "cosin", PF_NAME, "constant, linear, cosine");
    REFUSE(o.schedule = "cosine", PF_RANGE, "length of the run");
    REFUSE(o.lr = -1, PF_RANGE, "lr must be");
    REFUSE(o.lr = (double)NAN, PF_RANGE, "lr must be");
    REFUSE(o.beta2 = 1, PF_RANGE, "beta2");
    REFUSE(o.clip = HUGE_VAL, PF_RANGE, "clip");
    REFUSE(o.warmup = -1, PF_RANGE, "warmup");
    REFUSE(o.bad_steps = -1, PF_RANGE, "bad_steps");
    const pf_param_group miss = {"*.wight", 1, 0}, all = {"*", 0, 0}, bad = {"*", -1, 0};
    REFUSE((o.groups = &miss, o.n_groups = 1), PF_NAME, "\"*.wight\" matches none of the 3");
    REFUSE((o.groups = &all, o.n_groups = 1), PF_STATE, "nothing to train");
    REFUSE((o.groups = &bad, o.n_groups = 1), PF_RANGE, "group \"*\": lr_scale");
    for (int i = 0; i < TOY_N; i++) assert_true(t.w[i]->needs_grad);
    pf_trainer *trainer;
    support_ok(ctx, pfi_trainer_make(ctx, t.w, TOY_N, &ok, &trainer));
    support_fails(ctx, pf_trainer_step(trainer, -1, NULL), PF_STATE, "nothing was accumulated");
    support_fails(ctx, pf_trainer_step(trainer, (double)NAN, NULL), PF_RANGE, "learning rate");
    support_fails(ctx, pf_trainer_accumulate(trainer, t.w[0], 1), PF_SHAPE, "[3, 4]");
    pf_trainer_free(trainer);
    toy_free(&t);
    support_close(ctx);
}

static pf_status sweep_steps(pf_ctx *ctx, void *ud) {
    (void)ud;
    toy t;
    pf_trainer *trainer = NULL;
    pf_trainer_options o = pf_trainer_defaults();
    PF_TRY(toy_make(ctx, 1, &t));
    pf_status s = pfi_trainer_make(ctx, t.w, TOY_N, &o, &trainer);
    for (int i = 0; i < 2 && s == PF_OK; i++) s = toy_step(&t, trainer, NULL);
    if (s != PF_OK && trainer) assert_false(pfi_trainer_pending(trainer));
    pf_trainer_free(trainer);
    toy_free(&t);
    return s;
}

static void memory_may_fail(void **state) {
    (void)state;
    support_sweep(sweep_steps, NULL, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(optimisers_follow_torch),
        cmocka_unit_test(schedules_follow_torch),
        cmocka_unit_test(schedules_warm_up),
        cmocka_unit_test(order_is_a_permutation),
        cmocka_unit_test(order_is_fair),
        cmocka_unit_test(groups_by_first_pattern),
        cmocka_unit_test(no_gradient_no_update),
        cmocka_unit_test(bad_values_skip_and_stop),
        cmocka_unit_test(parts_add_up),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(eight_bits_take_a_quarter),
        cmocka_unit_test(eight_bits_are_adamw_from_what_they_hold),
        cmocka_unit_test(eight_bits_of_all_sizes),
        cmocka_unit_test(eight_bits_make_no_leaps),
        cmocka_unit_test(bad_options_are_refused),
        cmocka_unit_test(memory_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
