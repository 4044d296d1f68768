/* Models that hold their matrices narrow: the bits of the widened weights, mapped files, adapters on a frozen base. */
#include "families.h"

#include "base/half.h"
#include "kernel/kernel.h"
#include "op/op.h"

/* as config.json; every row is a multiple of 32 */
#define KEEP_CONFIG(ffn)                                                                                               \
    "{\"model_type\":\"llama\",\"vocab_size\":80,\"hidden_size\":64,\"intermediate_size\":" ffn                        \
    ",\"num_hidden_layers\":2,\"num_attention_heads\":4,\"num_key_value_heads\":2,\"max_position_embeddings\":64,"     \
    "\"rms_norm_eps\":1e-5,\"rope_theta\":10000.0,\"tie_word_embeddings\":false,\"initializer_range\":0.3}"

static const int32_t keep_ids[] = {3, 39, 4, 4, 17, 30, 2, 31};

static pf_model *keep_load(pf_ctx *ctx, const char *dir, pf_dtype dtype) {
    pf_model *m;
    support_ok(ctx, pf_model_load(ctx, dir, dtype, &m));
    return m;
}

/* a directory with a new random model; as: what its matrices are stored as */
static const char *keep_dir(pf_ctx *ctx, const char *name, pf_dtype as) {
    pf_model *m;
    const char *dir = support_path(name);
    support_ok(ctx, pf_model_new(ctx, KEEP_CONFIG("96"), NULL, 5, &m));
    support_ok(ctx, pf_model_save(m, dir));
    pf_model_free(m);
    if (as == PF_F32) return dir;
    m = keep_load(ctx, dir, as);
    support_ok(ctx, pf_model_save(m, dir));
    pf_model_free(m);
    return dir;
}

/* the same values, all widened to float32 */
static void keep_widen_into(const pf_model *from, pf_model *to) {
    for (int i = 0; i < from->n_parameters; i++) {
        const pf_tensor *t = from->parameter[i];
        pfk_widen_f32(t->dtype, pfi_data(t), pfi_data(to->parameter[i]), (int64_t)pfi_numel(t));
    }
}

static void keep_same_logits(pf_model *a, pf_model *b) {
    pf_tensor *x = pf_model_logits(a, keep_ids, PFI_COUNT(keep_ids));
    pf_tensor *y = pf_model_logits(b, keep_ids, PFI_COUNT(keep_ids));
    assert_non_null(x);
    assert_non_null(y);
    assert_memory_equal(pfi_data(x), pfi_data(y), pfi_numel(x) * sizeof(float));
    pf_tensor_free(x);
    pf_tensor_free(y);
}

static void keep_same_samples(pf_model *a, pf_model *b) {
    pf_generate_options opt = pf_generate_defaults();
    opt.samples = 3;
    opt.max_tokens = 12;
    opt.seed = 9;
    const pf_sequence prompt = {.ids = keep_ids, .n = 4};
    pf_sample *x, *y;
    support_ok(a->ctx, pf_generate(a, &prompt, 1, &opt, &x));
    support_ok(b->ctx, pf_generate(b, &prompt, 1, &opt, &y));
    for (int i = 0; i < 3; i++) {
        assert_true(x[i].n == y[i].n && x[i].n > 0);
        assert_memory_equal(x[i].ids, y[i].ids, x[i].n * sizeof(int32_t));
        assert_memory_equal(x[i].logp, y[i].logp, x[i].n * sizeof(float));
    }
    pf_samples_free(a->ctx, x, 3);
    pf_samples_free(b->ctx, y, 3);
}

static void test_types(void **state) {
    (void)state;
    static const pf_dtype types[] = {PF_BF16, PF_F16, PF_Q8_0};
    pf_ctx *ctx = support_open();
    const char *dir = keep_dir(ctx, "types", PF_F32);
    for (int i = 0; i < PFI_COUNT(types); i++) {
        pf_model *full = keep_load(ctx, dir, PF_F32), *m = keep_load(ctx, dir, types[i]);
        for (int k = 0; k < m->n_parameters; k++) {
            const pf_tensor *t = m->parameter[k], *from = full->parameter[k];
            assert_int_equal(t->dtype, t->nd == 2 ? types[i] : PF_F32);
            assert_false(t->needs_grad);
            assert_string_equal(t->name, from->name);
            for (size_t j = 0; types[i] == PF_BF16 && t->nd == 2 && j < pfi_numel(t); j++)
                assert_int_equal(((uint16_t *)pfi_data(t))[j], pfi_f32_to_bf16(pfi_f32(from)[j]));
        }
        assert_true(m->dtype == PF_F32 && full->parameter[0]->needs_grad);
        assert_true(pf_model_fingerprint(m) != pf_model_fingerprint(full));
        keep_widen_into(m, full);
        keep_same_logits(m, full);
        keep_same_samples(m, full);
        support_fails(ctx, pf_tensor_set_grad(m->parameter[0], true), PF_TYPE, "are frozen; load them as float32");
        pf_model_free(full);
        pf_model_free(m);
    }
    support_close(ctx);
}

/* what the file has is mapped, whichever way it is asked for; a change in memory does not reach the file */
static void test_mapped(void **state) {
    (void)state;
    static const pf_dtype files[] = {PF_BF16, PF_F16, PF_F32};
    pf_ctx *ctx = support_open();
    for (int i = 0; i < PFI_COUNT(files); i++) {
        const char *dir = keep_dir(ctx, "mapped", files[i]);
        pf_model *m = keep_load(ctx, dir, PF_STORED), *wide = keep_load(ctx, dir, PF_F32);
        for (int k = 0; k < m->n_parameters; k++) {
            const pf_tensor *t = m->parameter[k];
            assert_false(t->needs_grad);
            assert_int_equal(t->dtype, t->nd == 2 ? files[i] : PF_F32);
            if (t->nd == 2) assert_non_null(t->st->release);
            if (t->nd == 1) assert_null(t->st->release);
        }
        keep_same_logits(m, wide);
        if (files[i] != PF_F32) {
            pf_model *named = keep_load(ctx, dir, files[i]);
            assert_non_null(named->parameter[0]->st->release);
            assert_true(pf_model_fingerprint(named) == pf_model_fingerprint(m));
            pf_model_free(named);
        } else {
            pfi_set(m->embedding, 7, 1234);
            pf_model *again = keep_load(ctx, dir, PF_STORED);
            assert_true(pfi_get(again->embedding, 7) == pfi_get(wide->embedding, 7));
            pf_model_free(again);
        }
        pf_model_free(m);
        pf_model_free(wide);
    }
    support_close(ctx);
}

static void test_copy(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pf_model *m = keep_load(ctx, keep_dir(ctx, "copy", PF_F32), PF_Q8_0), *c;
    support_ok(ctx, pf_model_copy(m, &c));
    for (int i = 0; i < m->n_parameters; i++) {
        assert_true((m->parameter[i] == c->parameter[i]) == (m->parameter[i]->nd == 2));
        assert_false(c->parameter[i]->needs_grad);
    }
    assert_true(pf_model_fingerprint(c) == pf_model_fingerprint(m));
    keep_same_logits(m, c);
    support_fails(ctx, pf_model_save(m, support_path("copy2")), PF_TYPE,
                  "is q8_0, which a safetensors file cannot hold");
    pf_model_free(m);
    keep_same_logits(c, c);
    pf_model_free(c);
    support_close(ctx);
}

static void test_refused(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    const char *dir = keep_dir(ctx, "refused", PF_F32);
    pf_model *m;
    support_fails(ctx, pf_model_load(ctx, dir, PF_Q4_K, &m), PF_TYPE, "or as stored, not as q4_k");
    support_fails(ctx, pf_model_load(ctx, dir, PF_I32, &m), PF_TYPE, "not as int32");
    m = keep_load(ctx, dir, PF_F32);
    pfi_f32(m->layer[1].gate.w)[65] = NAN;
    support_ok(ctx, pf_model_save(m, dir));
    pf_model_free(m);
    support_fails(ctx, pf_model_load(ctx, dir, PF_Q8_0, &m), PF_NONFINITE,
                  "\"model.layers.1.mlp.gate_proj.weight\": a");
    assert_null(m);
    support_ok(ctx, pf_model_new(ctx, KEEP_CONFIG("80"), NULL, 5, &m));
    support_ok(ctx, pf_model_save(m, dir));
    pf_model_free(m);
    support_fails(ctx, pf_model_load(ctx, dir, PF_Q8_0, &m), PF_SHAPE,
                  "down_proj.weight\" has rows of 80 values, dtype q8_0 takes multiples of 32: load it with dtype bf");
    pf_model_free(keep_load(ctx, dir, PF_BF16));
    support_close(ctx);
}

/* rows in another order are moved byte for byte, or narrowed in that order */
static void test_rows(void **state) {
    (void)state;
    static const int64_t row[] = {2, 0, 1};
    pf_ctx *ctx = support_open();
    pf_tensor *x = pf_tensor_new(ctx, PF_F32, 2, (int64_t[]){3, 32});
    for (size_t i = 0; i < 96; i++) pfi_set(x, i, (double)i / 8 - 5);
    pf_tensor *same = pfi_keep(x, PF_STORED, NULL), *q = pfi_keep(x, PF_Q8_0, row);
    assert_non_null(q);
    pf_tensor *r = pfi_keep(q, PF_STORED, row);
    assert_non_null(r);
    assert_ptr_equal(same, x);
    assert_true(q->dtype == PF_Q8_0 && r->dtype == PF_Q8_0);
    for (size_t i = 0; i < 96; i++) {
        double want = pfi_get(x, (size_t)row[i / 32] * 32 + i % 32);
        assert_true(fabs(pfi_get(q, i) - want) < 0.04);
        assert_true(pfi_get(r, i) == pfi_get(q, (size_t)row[i / 32] * 32 + i % 32));
    }
    pf_tensor_free(same);
    pf_tensor_free(q);
    pf_tensor_free(r);
    pf_tensor_free(x);
    support_close(ctx);
}

/* A model goes into a GGUF file and comes back as it is stored there: what is mapped is, what the file has in another
 * order is moved, and all of it computes as it does widened. 0: the format cannot hold it. */
static int keep_gguf(const pf_model *full, const char *path, pf_dtype type) {
    pf_ctx *ctx = full->ctx;
    pf_status s = pf_model_save(full, path);
    if (s == PF_UNSUPPORTED) return 0;
    support_ok(ctx, s);
    pf_model *m = keep_load(ctx, path, PF_STORED), *wide = keep_load(ctx, path, PF_F32);
    for (int i = 0; i < m->n_parameters; i++) {
        const pf_tensor *t = m->parameter[i];
        const unsigned moved = m->slots.slot[i].flags & (PFI_INTERLEAVED | PFI_PER_HEAD);
        if (t->nd == 2 && t->dtype == type && (t->st->release == NULL) != (moved != 0))
            fail_msg("%s is %smapped", t->name, moved ? "" : "not ");
        assert_true(t->nd == 1 || t->dtype == type || t->dtype == PF_F32);
    }
    assert_int_equal(m->layer[0].o.w->dtype, type);
    keep_same_logits(m, wide);
    pf_model_free(m);
    pf_model_free(wide);
    return 1;
}

/* every family, wherever its files have rows or columns in another order */
static void test_families(void **state) {
    (void)state;
    json_t *j = family_figures(), *one;
    const char *name;
    int through_gguf = 0;
    json_object_foreach(json_object_get(j, "cases"), name, one) {
        pf_ctx *ctx = support_open();
        const char *dir = family_dir(ctx, one, name, "config"), *saved = support_path("family.saved");
        pf_model *full = keep_load(ctx, dir, PF_F32), *half = keep_load(ctx, dir, PF_BF16);
        keep_widen_into(half, full);
        keep_same_logits(half, full);
        support_ok(ctx, pf_model_save(half, saved));
        pf_model *stored = keep_load(ctx, saved, PF_STORED);
        keep_same_logits(stored, full);
        assert_int_equal(stored->embedding->dtype, PF_BF16);
        assert_non_null(strstr(stored->config_text, "bfloat16"));
        pf_model_free(stored);
        pf_model_free(half);
        through_gguf += keep_gguf(full, support_path("family-f16.gguf"), PF_F16);
        pf_model_free(full);
        support_close(ctx);
    }
    assert_true(through_gguf >= 8);
    json_decref(j);
}

/* eight bits a weight, from a file and out of memory: the file has them in other rows */
static void test_gguf(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pf_model *full = keep_load(ctx, keep_dir(ctx, "gguf", PF_F32), PF_F32);
    assert_int_equal(keep_gguf(full, support_path("keep-q8_0.gguf"), PF_Q8_0), 1);
    pf_model_free(full);
    support_close(ctx);
}

/* ---- adapters ---- */

#define KEEP_ADAPTER                                                                                                   \
    "{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":8,\"target_modules\":[\"q_proj\",\"v_proj\",\"down_proj\"]}"

/* one step of plain descent on the log-probability of keep_ids; returns it as it was before */
static double keep_step(pf_model *m, double lr) {
    pf_ctx *ctx = m->ctx;
    const pf_sequence seq = {.ids = keep_ids, .n = PFI_COUNT(keep_ids), .scored_from = 2};
    pf_batch *b;
    support_ok(ctx, pf_step_begin(ctx));
    support_ok(ctx, pf_batch_new(ctx, &seq, 1, &b));
    pf_tensor *logp = pf_model_logp(m, b, NULL), *sum = pf_call(ctx, "sum", PF_T("x", logp));
    if (!sum) fail_msg("%s", pf_errmsg(ctx));
    double before = pf_tensor_item(sum);
    support_ok(ctx, pf_backward(sum));
    int trained = 0;
    for (int i = 0; i < pf_model_parameter_count(m); i++) {
        pf_tensor *w = pf_model_parameter(m, i);
        if (!w->needs_grad) continue;
        assert_non_null(w->grad);
        trained++;
        for (size_t k = 0; k < pfi_numel(w); k++) pfi_set(w, k, pfi_get(w, k) + lr * pfi_get(w->grad, k));
        pf_tensor_zero_grad(w);
    }
    assert_int_equal(trained, 2 * 3 * 2); /* A and B of three products in two layers */
    pf_tensor_free(logp);
    pf_tensor_free(sum);
    pf_batch_free(b);
    pf_step_end(ctx);
    return before;
}

/* an adapter on a narrow base is trained as one on the widened base; the base stays as it is */
static void test_adapter(void **state) {
    (void)state;
    static const pf_dtype types[] = {PF_BF16, PF_Q8_0};
    pf_ctx *ctx = support_open();
    const char *dir = keep_dir(ctx, "adapter", PF_F32);
    for (int i = 0; i < PFI_COUNT(types); i++) {
        pf_model *m = keep_load(ctx, dir, types[i]), *wide = keep_load(ctx, dir, PF_F32);
        keep_widen_into(m, wide);
        uint64_t base = pf_model_fingerprint(m);
        support_ok(ctx, pf_model_adapt(m, KEEP_ADAPTER, 3));
        support_ok(ctx, pf_model_adapt(wide, KEEP_ADAPTER, 3));
        double first = 0, last = 0;
        for (int k = 0; k < 6; k++) {
            double a = keep_step(m, 0.01), b = keep_step(wide, 0.01);
            if (k == 0) assert_true(a == b);
            assert_true(fabs(a - b) <= 1e-4 * fabs(b));
            if (k == 0) first = a;
            last = a;
        }
        assert_true(last > first + 1);
        support_fails(ctx, pf_model_merge(m), PF_STATE, "load the model as float32");
        pf_model_free(m);
        m = keep_load(ctx, dir, types[i]);
        assert_true(pf_model_fingerprint(m) == base);
        pf_model_free(m);
        pf_model_free(wide);
    }
    support_close(ctx);
}

static pf_status keep_everything(pf_ctx *ctx, void *ud) {
    pf_model *m = NULL, *c = NULL;
    PF_TRY(pf_model_load(ctx, ud, PF_Q8_0, &m));
    pf_status s = pf_model_copy(m, &c);
    pf_tensor *z = s == PF_OK ? pf_model_logits(c, keep_ids, 3) : NULL;
    if (s == PF_OK && !z) s = pf_errcode(ctx);
    pf_tensor_free(z);
    pf_model_free(m);
    pf_model_free(c);
    return s;
}

static void test_memory(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    const char *dir = keep_dir(ctx, "oom", PF_F32);
    support_close(ctx);
    support_sweep(keep_everything, (void *)(uintptr_t)dir, 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),   cmocka_unit_test(test_mapped),  cmocka_unit_test(test_copy),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_rows),    cmocka_unit_test(test_families),
        cmocka_unit_test(test_gguf),    cmocka_unit_test(test_adapter), cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, support_cleanup);
}
