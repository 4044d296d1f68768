/* A program that learns from its user, with memory of its own and without Lua: makes a small model, trains it on
 * preference pairs held in memory until it clearly prefers every better answer, and asks it before and after.
 *     build/examples/embed
 * The exit status says whether the model learned and every byte came back. */
#include <pofit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PAIRS = 16 };
static const pf_pair pairs[PAIRS] = {{"0+0=", "0", "4"}, {"0+1=", "1", "3"}, {"0+2=", "2", "1"}, {"0+3=", "3", "5"},
                                     {"1+0=", "1", "7"}, {"1+1=", "2", "1"}, {"1+2=", "3", "4"}, {"1+3=", "4", "6"},
                                     {"2+0=", "2", "0"}, {"2+1=", "3", "2"}, {"2+2=", "4", "5"}, {"2+3=", "5", "3"},
                                     {"3+0=", "3", "1"}, {"3+1=", "4", "8"}, {"3+2=", "5", "9"}, {"3+3=", "6", "2"}};

static const char tokenizer_json[] =
    "{\"model\": {\"type\": \"BPE\", \"merges\": [], \"vocab\": {\"0\": 0, \"1\": 1, \"2\": 2, \"3\": 3, \"4\": 4, "
    "\"5\": 5, \"6\": 6, \"7\": 7, \"8\": 8, \"9\": 9, \"+\": 10, \"=\": 11, \"<end>\": 12}}, "
    "\"added_tokens\": [{\"id\": 12, \"content\": \"<end>\", \"special\": true}], \"decoder\": {\"type\": \"Fuse\"}}";
static const char config_json[] =
    "{\"model_type\": \"llama\", \"vocab_size\": 13, \"hidden_size\": 32, \"intermediate_size\": 64, "
    "\"num_hidden_layers\": 2, \"num_attention_heads\": 4, \"num_key_value_heads\": 2, "
    "\"max_position_embeddings\": 16, \"rms_norm_eps\": 1e-5, \"hidden_act\": \"silu\", \"rope_theta\": 10000, "
    "\"tie_word_embeddings\": true, \"initializer_range\": 0.1, \"eos_token_id\": 12}";

/* counts what the library holds */
static void *host_realloc(void *held, void *p, size_t old, size_t now) {
    void *q = now ? realloc(p, now) : NULL;
    if (now == 0) free(p);
    if (q || now == 0) *(size_t *)held += now - old;
    return q;
}

/* a model that knows nothing; its tokenizer comes from a file, as every tokenizer does */
static pf_status make_model(pf_ctx *ctx, pf_model **m) {
    char path[] = "/tmp/pofit-embed-XXXXXX";
    pf_tokenizer *tok = NULL;
    int fd = mkstemp(path);
    if (fd < 0 || write(fd, tokenizer_json, strlen(tokenizer_json)) < 0) return PF_IO;
    close(fd);
    pf_status s = pf_tokenizer_load(ctx, path, &tok);
    unlink(path);
    if (s == PF_OK) s = pf_model_new(ctx, config_json, tok, 1, m);
    pf_tokenizer_free(tok);
    return s;
}

/* how many prompts the model continues as preferred, by greedy choice; -1 on failure */
static int ask(pf_ctx *ctx, pf_model *m) {
    pf_generate_options how = pf_generate_defaults();
    how.temperature = 0;
    how.max_tokens = 4;
    int right = 0;
    for (int i = 0; i < PAIRS && right >= 0; i++) {
        int32_t *ids = NULL;
        size_t n = 0;
        pf_sample *answer = NULL;
        const char *prompt = pairs[i].prompt;
        pf_status s = pf_tokenizer_encode(pf_model_tokenizer(m), prompt, strlen(prompt), true, &ids, &n);
        if (s == PF_OK) s = pf_generate(m, &(pf_sequence){.ids = ids, .n = n}, 1, &how, &answer);
        if (s == PF_OK && i % 5 == 2) printf("  %s%s\n", prompt, answer->text);
        right = s != PF_OK ? -1 : right + (strcmp(answer->text, pairs[i].chosen) == 0);
        if (s == PF_OK) pf_samples_free(ctx, answer, 1);
        pf_release(ctx, ids);
    }
    return right;
}

/* after every update: report, and stop once the better answers are ahead by a clear margin */
static void on_step(void *ctx, const pf_train_info *info) {
    double accuracy = 0, margin = 0;
    for (int i = 0; i < info->n_metrics; i++) {
        if (strcmp(info->metrics[i].name, "rewards/accuracies") == 0) accuracy = info->metrics[i].value;
        if (strcmp(info->metrics[i].name, "rewards/margins") == 0) margin = info->metrics[i].value;
    }
    if (info->step.step % 10 == 1)
        printf("step %3lld  loss %.4f  accuracy %.2f\n", (long long)info->step.step, info->step.loss, accuracy);
    if (accuracy == 1 && margin > 2) pf_cancel(ctx);
}

int main(void) {
    size_t held = 0;
    pf_ctx *ctx = NULL;
    pf_model *m = NULL;
    if (pf_open(&ctx, &(pf_allocator){host_realloc, &held})) return 1;
    pf_train_options how = pf_train_defaults();
    how.trainer.steps = 400;
    how.trainer.lr = 3e-3;
    how.batch = PAIRS;
    how.on_step = on_step;
    how.ud = ctx;
    int before = make_model(ctx, &m) == PF_OK ? ask(ctx, m) : -1;
    pf_status s = before < 0 ? PF_STATE : pf_train(m, pairs, PAIRS, &how);
    printf("%s\n", s == PF_OK ? "all steps done" : pf_errmsg(ctx));
    int after = s == PF_OK || s == PF_CANCELLED ? ask(ctx, m) : -1;
    pf_model_free(m);
    pf_close(ctx);
    printf("as preferred: %d of %d before, %d after; %zu bytes left\n", before, PAIRS, after, held);
    return after > before && held == 0 ? 0 : 1;
}
