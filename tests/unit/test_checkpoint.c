/* Checkpoints: continuing to the same bits, refusing what is damaged or belongs elsewhere, failing without loss. */
#include <signal.h>
#include <sys/resource.h>

#include "file/file.h"
#include "train_support.h"

static pf_trainer_options checkpoint_options(void) {
    pf_trainer_options o = pf_trainer_defaults();
    o.schedule = "cosine";
    o.warmup = 2;
    o.steps = 10;
    return o;
}

static pf_trainer *checkpoint_trainer(const toy *t, const pf_trainer_options *o) {
    pf_trainer *trainer;
    support_ok(t->ctx, pfi_trainer_make(t->ctx, (pf_tensor *const *)t->w, TOY_N, o, &trainer));
    return trainer;
}

static void checkpoint_run(const toy *t, pf_trainer *trainer, int steps) {
    for (int i = 0; i < steps; i++) support_ok(t->ctx, toy_step(t, trainer, NULL));
}

/* a checkpoint after 5 steps on a toy */
static const char *checkpoint_make(pf_ctx *ctx, const pf_trainer_options *o) {
    const char *path = support_path("made.pfck");
    toy t;
    support_ok(ctx, toy_make(ctx, 1, &t));
    pf_trainer *trainer = checkpoint_trainer(&t, o);
    checkpoint_run(&t, trainer, 5);
    support_ok(ctx, pf_trainer_save(trainer, path, "here", 4));
    pf_trainer_free(trainer);
    toy_free(&t);
    return path;
}

static void resume_one(const char *optimizer, double momentum, int64_t times) {
    pf_ctx *ctx = support_open();
    toy straight, first, second;
    pf_trainer_options o = checkpoint_options();
    o.optimizer = optimizer;
    o.momentum = momentum;
    support_ok(ctx, toy_make_scaled(ctx, PF_F32, 1, times, &straight));
    support_ok(ctx, toy_make_scaled(ctx, PF_F32, 1, times, &first));
    support_ok(ctx, toy_make_scaled(ctx, PF_F32, 2, times, &second)); /* other weights: all must come from the file */
    pf_trainer *a = checkpoint_trainer(&straight, &o), *b = checkpoint_trainer(&first, &o);
    checkpoint_run(&straight, a, 10);
    checkpoint_run(&first, b, 5);
    toy_set_grad(&first, 0, (double)NAN); /* a bad step is part of the state */
    support_ok(ctx, pf_trainer_step(b, -1, NULL));
    b->step--;
    const char *path = support_path("resume.pfck");
    static const char extra[] = "position\0 in the data";
    support_ok(ctx, pf_trainer_save(b, path, extra, sizeof extra));
    pf_trainer_free(b);
    pf_trainer *c = checkpoint_trainer(&second, &o);
    toy_set_grad(&second, 0, 1); /* what was begun before is forgotten */
    void *back;
    size_t n;
    support_ok(ctx, pf_trainer_restore(c, path, &back, &n));
    assert_int_equal(n, sizeof extra);
    assert_memory_equal(back, extra, n);
    pf_release(ctx, back);
    assert_int_equal(c->step, 5);
    assert_int_equal(c->bad, 1);
    assert_false(pfi_trainer_pending(c));
    checkpoint_run(&second, c, 5);
    assert_true(toy_equal(&straight, &second));
    assert_false(toy_equal(&straight, &first));
    pf_trainer_free(a);
    pf_trainer_free(c);
    toy_free(&straight);
    toy_free(&first);
    toy_free(&second);
    support_close(ctx);
}

static void resuming_gives_the_same_bits(void **state) {
    (void)state;
    resume_one("adamw", 0, 1);
    resume_one("sgd", 0, 1);
    resume_one("sgd", 0.9, 1);
    resume_one("adamw_8bit", 0, 1001);
}

static void saving_is_deterministic(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pf_trainer_options o = checkpoint_options();
    pfi_buf a = {0}, b = {0};
    support_ok(ctx, pfi_file_read(ctx, checkpoint_make(ctx, &o), &a));
    support_ok(ctx, pfi_file_read(ctx, checkpoint_make(ctx, &o), &b));
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.data, b.data, a.len);
    pfi_buf_free(ctx, &a);
    pfi_buf_free(ctx, &b);
    support_close(ctx);
}

/* refused, and neither weights nor trainer are touched */
static void refuse_file(pf_ctx *ctx, const char *path, const pf_trainer_options *o, pf_status s, const char *text) {
    toy t, before;
    support_ok(ctx, toy_make(ctx, 3, &t));
    support_ok(ctx, toy_make(ctx, 3, &before));
    pf_trainer *trainer = checkpoint_trainer(&t, o);
    void *extra;
    size_t n;
    pf_status got = pf_trainer_restore(trainer, path, &extra, &n);
    if (got != s) fail_msg("status %d (%s), expected %d", got, pf_errmsg(ctx), s);
    if (!strstr(pf_errmsg(ctx), text)) fail_msg("\"%s\" is not in: %s", text, pf_errmsg(ctx));
    if (!strstr(pf_errmsg(ctx), path)) fail_msg("\"%s\" is not in: %s", path, pf_errmsg(ctx));
    assert_null(extra);
    assert_true(toy_equal(&t, &before));
    assert_int_equal(trainer->step, 0);
    assert_int_equal(trainer->item[0].updates, 0);
    pf_trainer_free(trainer);
    toy_free(&t);
    toy_free(&before);
}

/* Restores a file with one byte changed: refused, or, where zstd has padding bits, exactly what was written. */
static bool flip_is_refused(pf_ctx *ctx, const pfi_buf *b, const pf_trainer_options *o, const toy *right) {
    const char *path = support_write("flipped.pfck", b->data, b->len);
    toy t, before;
    support_ok(ctx, toy_make(ctx, 3, &t));
    support_ok(ctx, toy_make(ctx, 3, &before));
    pf_trainer *trainer = checkpoint_trainer(&t, o);
    pf_status s = pf_trainer_restore(trainer, path, NULL, NULL);
    assert_true(s == PF_OK || s == PF_FORMAT);
    assert_true(toy_equal(&t, s == PF_OK ? right : &before));
    assert_int_equal(trainer->step, s == PF_OK ? 5 : 0);
    if (s != PF_OK && !strstr(pf_errmsg(ctx), path)) fail_msg("no path in: %s", pf_errmsg(ctx));
    pf_trainer_free(trainer);
    toy_free(&t);
    toy_free(&before);
    return s != PF_OK;
}

static void damage_is_refused(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pf_trainer_options o = checkpoint_options();
    pfi_buf b = {0};
    toy right;
    const char *path = checkpoint_make(ctx, &o);
    support_ok(ctx, pfi_file_read(ctx, path, &b));
    support_ok(ctx, toy_make(ctx, 1, &right));
    pf_trainer *trainer = checkpoint_trainer(&right, &o);
    support_ok(ctx, pf_trainer_restore(trainer, path, NULL, NULL));
    pf_trainer_free(trainer);
    int flips = 0, refused = 0;
    for (size_t at = 0; at < b.len; at += at < 32 ? 1 : 37) {
        for (int bit = 0; bit < 8; bit += 7, flips++) {
            b.data[at] = (char)(b.data[at] ^ (1 << bit));
            refused += flip_is_refused(ctx, &b, &o, &right);
            b.data[at] = (char)(b.data[at] ^ (1 << bit));
        }
    }
    assert_true(refused > flips - flips / 10);
    toy_free(&right);
    for (size_t n = 0; n < b.len; n += 41) refuse_file(ctx, support_write("short.pfck", b.data, n), &o, PF_FORMAT, "");
    refuse_file(ctx, support_write("less.pfck", b.data, b.len - 1), &o, PF_FORMAT, "cut short");
    refuse_file(ctx, support_path("none.pfck"), &o, PF_IO, "No such file");
    refuse_file(ctx, support_dir(), &o, PF_IO, "");
    pfi_buf frame = {0};
    support_ok(ctx, pfi_zst_compress(ctx, "something else entirely", 23, 0, &frame));
    refuse_file(ctx, support_write("else.pfck", frame.data, frame.len), &o, PF_FORMAT, "not a checkpoint");
    frame.len = 0;
    support_ok(ctx, pfi_zst_compress(ctx, "pofit-ck\xff\0\0\0\0\0\0\0xyz", 19, 0, &frame));
    refuse_file(ctx, support_write("lies.pfck", frame.data, frame.len), &o, PF_FORMAT, "255 bytes of tensors");
    pfi_buf_free(ctx, &frame);
    pfi_buf_free(ctx, &b);
    support_close(ctx);
}

static void other_runs_are_refused(void **state) {
    (void)state;
    static const pf_param_group half = {"norm*", 0.5, 0}, frozen = {"norm*", 0, 0};
    pf_ctx *ctx = support_open();
    pf_trainer_options ok = checkpoint_options(), o = ok;
    const char *path = checkpoint_make(ctx, &ok);
    o.lr = 0.5;
    refuse_file(ctx, path, &o, PF_STATE, "lr = 0.001");
    o = ok;
    o.steps = 11;
    refuse_file(ctx, path, &o, PF_STATE, "steps = 10, this run has 11");
    o = ok;
    o.schedule = "linear";
    refuse_file(ctx, path, &o, PF_STATE, "schedule = cosine");
    o = ok;
    o.optimizer = "sgd";
    refuse_file(ctx, path, &o, PF_STATE, "optimizer = adamw");
    o = ok;
    o.n_groups = 1;
    o.groups = &half;
    refuse_file(ctx, path, &o, PF_STATE, "parameter groups");
    o.groups = &frozen;
    refuse_file(ctx, path, &o, PF_STATE, "parameter groups");
    /* the frozen parameter is bound by its fingerprint */
    refuse_file(ctx, checkpoint_make(ctx, &o), &o, PF_STATE, "not trained differ");
    support_close(ctx);
}

/* restore into parameters that were changed by change() */
static void refuse_model(void (*change)(toy *t), pf_status s, const char *text) {
    pf_ctx *ctx = support_open();
    pf_trainer_options o = checkpoint_options();
    const char *path = checkpoint_make(ctx, &o);
    toy t;
    support_ok(ctx, toy_make(ctx, 1, &t));
    change(&t);
    pf_trainer *trainer = checkpoint_trainer(&t, &o);
    support_fails(ctx, pf_trainer_restore(trainer, path, NULL, NULL), s, text);
    pf_trainer_free(trainer);
    toy_free(&t);
    support_close(ctx);
}

static void change_name(toy *t) { strcpy(t->w[1]->name, "layer.9.weight"); }

static void change_shape(toy *t) {
    t->w[0]->dim[0] = 4;
    t->w[0]->dim[1] = 3;
    pfi_strides(2, t->w[0]->dim, t->w[0]->stride);
}

static void change_type(toy *t) {
    pf_tensor *w = pf_tensor_new(t->ctx, PF_F64, 1, t->w[2]->dim);
    strcpy(w->name, t->w[2]->name);
    w->needs_grad = true;
    pf_tensor_free(t->w[2]);
    t->w[2] = w;
}

static void other_models_are_refused(void **state) {
    (void)state;
    refuse_model(change_name, PF_SHAPE, "holds no \"weight/layer.9.weight\"");
    refuse_model(change_shape, PF_SHAPE, "[3, 4] there and [4, 3] here");
    refuse_model(change_type, PF_TYPE, "is F32 there and float64 here");
}

static void saving_needs_a_finished_step(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pf_trainer_options o = checkpoint_options();
    toy t;
    support_ok(ctx, toy_make(ctx, 1, &t));
    pf_trainer *trainer = checkpoint_trainer(&t, &o);
    toy_set_grad(&t, 1, 1);
    support_fails(ctx, pf_trainer_save(trainer, support_path("mid.pfck"), NULL, 0), PF_STATE, "between steps");
    assert_false(pfi_file_exists(support_path("mid.pfck")));
    pf_trainer_free(trainer);
    toy_free(&t);
    support_close(ctx);
}

/* a disk that is full after 100 bytes: the old checkpoint stands and nothing else is left */
static void full_disk_loses_nothing(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pf_trainer_options o = checkpoint_options();
    const char *path = checkpoint_make(ctx, &o);
    pfi_buf before = {0}, after = {0};
    support_ok(ctx, pfi_file_read(ctx, path, &before));
    toy t;
    support_ok(ctx, toy_make(ctx, 1, &t));
    pf_trainer *trainer = checkpoint_trainer(&t, &o);
    checkpoint_run(&t, trainer, 1);
    struct rlimit old, small;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    small = old;
    small.rlim_cur = 100;
    setrlimit(RLIMIT_FSIZE, &small);
    pf_status s = pf_trainer_save(trainer, path, NULL, 0);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(s, PF_IO);
    assert_non_null(strstr(pf_errmsg(ctx), path));
    support_ok(ctx, pfi_file_read(ctx, path, &after));
    assert_int_equal(before.len, after.len);
    assert_memory_equal(before.data, after.data, after.len);
    char cmd[600];
    snprintf(cmd, sizeof cmd, "ls %s.* 2>/dev/null | grep -q .", path);
    assert_int_not_equal(system(cmd), 0);
    support_ok(ctx, pf_trainer_save(trainer, path, NULL, 0));
    pfi_buf_free(ctx, &before);
    pfi_buf_free(ctx, &after);
    pf_trainer_free(trainer);
    toy_free(&t);
    support_close(ctx);
}

/* what is saved is never held a second time */
static void saving_is_a_stream(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    toy t;
    pf_trainer *trainer;
    pf_trainer_options o = checkpoint_options();
    support_ok(ctx, toy_make_scaled(ctx, PF_F32, 1, 20000, &t));
    support_ok(ctx, pfi_trainer_make(ctx, t.w, TOY_N, &o, &trainer));
    pfi_trim(ctx);
    const size_t used = ctx->used;
    assert_true(used > 3000000);
    support_ok(ctx, pf_trainer_save(trainer, support_path("large.pfck"), NULL, 0));
    assert_true(ctx->high - used < 300000);
    support_ok(ctx, pf_trainer_restore(trainer, support_path("large.pfck"), NULL, NULL));
    pf_trainer_free(trainer);
    toy_free(&t);
    support_close(ctx);
}

static pf_status sweep_save(pf_ctx *ctx, void *ud) {
    toy t;
    pf_trainer *trainer = NULL;
    pf_trainer_options o = checkpoint_options();
    PF_TRY(toy_make(ctx, 1, &t));
    pf_status s = pfi_trainer_make(ctx, t.w, TOY_N, &o, &trainer);
    if (s == PF_OK) s = toy_step(&t, trainer, NULL);
    if (s == PF_OK) s = pf_trainer_save(trainer, ud, "x", 1);
    pf_trainer_free(trainer);
    toy_free(&t);
    return s;
}

static pf_status sweep_restore(pf_ctx *ctx, void *ud) {
    toy t;
    pf_trainer *trainer = NULL;
    pf_trainer_options o = checkpoint_options();
    void *extra = NULL;
    size_t n;
    PF_TRY(toy_make(ctx, 2, &t));
    double was = pfi_get(t.w[0], 0);
    pf_status s = pfi_trainer_make(ctx, t.w, TOY_N, &o, &trainer);
    if (s == PF_OK) s = pf_trainer_restore(trainer, ud, &extra, &n);
    assert_true(s == PF_OK || pfi_get(t.w[0], 0) == was);
    pf_release(ctx, extra);
    pf_trainer_free(trainer);
    toy_free(&t);
    return s;
}

static void memory_may_fail(void **state) {
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s", support_path("sweep.pfck"));
    support_sweep(sweep_save, path, 1);
    assert_true(pfi_file_exists(path));
    support_sweep(sweep_restore, path, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resuming_gives_the_same_bits),
        cmocka_unit_test(saving_is_deterministic),
        cmocka_unit_test(damage_is_refused),
        cmocka_unit_test(other_runs_are_refused),
        cmocka_unit_test(other_models_are_refused),
        cmocka_unit_test(saving_needs_a_finished_step),
        cmocka_unit_test(full_disk_loses_nothing),
        cmocka_unit_test(saving_is_a_stream),
        cmocka_unit_test(memory_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, support_cleanup);
}
