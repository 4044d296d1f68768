/* pofit: fits language models to preferences.
 *
 * One library: tensors with automatic differentiation, the losses of preference optimisation as closed forms,
 * Llama-shaped models on token forests, sampling, and training. No global state: every object belongs to a context.
 *
 * Shape letters: B sequences, T positions or scored tokens, V vocabulary, C channels, H heads, D channels per head,
 * L layers, N preference pairs, G samples per prompt. Shapes are written outermost first.
 * Units: log-probabilities in nats, lengths in tokens, sizes in bytes, times in seconds.
 *
 * Threads: one context per thread. Two contexts in two threads do not meet. pf_cancel alone may be called from
 * another thread or a signal handler.
 *
 * Errors: a function returns pf_status, or a pointer that is NULL on failure. pf_errmsg says what was wrong and what
 * was expected. Passing a NULL tensor to an operation gives NULL and keeps the first message, so a chain of
 * operations is checked once, at its end. The library never exits, aborts or prints.
 */
#ifndef POFIT_H
#define POFIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- version -------------------------------------------------------------------------------------------------- */

#define PF_VERSION_MAJOR 0
#define PF_VERSION_MINOR 1
#define PF_VERSION_PATCH 0
#define PF_VERSION       (PF_VERSION_MAJOR * 10000 + PF_VERSION_MINOR * 100 + PF_VERSION_PATCH)

#if defined(__GNUC__)
#define PF_API               __attribute__((visibility("default")))
#define PF_FORMAT_ATTR(f, a) __attribute__((format(printf, f, a)))
#else
#define PF_API
#define PF_FORMAT_ATTR(f, a)
#endif

PF_API const char *pf_version(void); /* "0.1.0", static */

/* ---- limits --------------------------------------------------------------------------------------------------- */

#define PF_MAX_DIMS   4   /* no operation needs more */
#define PF_MAX_INPUTS 10  /* tensors per operation; attention takes the most */
#define PF_MAX_PARAMS 12  /* numbers, choices and switches per operation */
#define PF_MAX_NAME   128 /* bytes of a tensor's name, final 0 included */

/* ---- status --------------------------------------------------------------------------------------------------- */

#define PF_STATUS_LIST(X)                                                                                              \
    X(PF_OK, "ok")                                                                                                     \
    X(PF_NOMEM, "not enough memory")                                                                                   \
    X(PF_SHAPE, "shapes do not fit")                                                                                   \
    X(PF_TYPE, "wrong type")                                                                                           \
    X(PF_RANGE, "value out of range")                                                                                  \
    X(PF_NAME, "unknown name")                                                                                         \
    X(PF_IO, "input or output failed")                                                                                 \
    X(PF_FORMAT, "malformed file or text")                                                                             \
    X(PF_NONFINITE, "value is not finite")                                                                             \
    X(PF_STATE, "not allowed in this state")                                                                           \
    X(PF_CANCELLED, "cancelled")                                                                                       \
    X(PF_UNSUPPORTED, "not supported")

typedef enum pf_status {
#define X(code, text) code,
    PF_STATUS_LIST(X)
#undef X
} pf_status;

/* ---- context -------------------------------------------------------------------------------------------------- */

typedef struct pf_ctx pf_ctx;
typedef struct pf_tensor pf_tensor;

/* realloc with the old size: now == 0 frees and returns NULL; p == NULL allocates. Must return memory aligned for
 * any C type, or NULL. Called from the context's own thread only. Large blocks that the context no longer uses wait in
 * it to be used again; they go back when it closes, or earlier when it would otherwise hold more than it used at its
 * peak. */
typedef void *(*pf_realloc_fn)(void *ud, void *p, size_t old, size_t now);

typedef struct pf_allocator {
    pf_realloc_fn realloc_fn;
    void *ud;
} pf_allocator;

/* open a context. a NULL: the C library's allocator. Tells OpenBLAS, for the whole process, to use one thread: the
 * library's own loops share out the work. err NOMEM. *out owned by caller, NULL on failure. */
PF_API pf_status pf_open(pf_ctx **out, const pf_allocator *a);
/* drop the caller's hold. Objects that are still alive keep the context until the last one is freed. NULL is fine. */
PF_API void pf_close(pf_ctx *ctx);
/* message of the last failure on this context, borrowed until the next call; "" if there was none */
PF_API const char *pf_errmsg(const pf_ctx *ctx);
PF_API pf_status pf_errcode(const pf_ctx *ctx); /* status of the last failure, PF_OK if none */
PF_API const char *pf_strstatus(pf_status s);   /* static text of a status */
/* number of threads our loops use, 1..256; results do not depend on it. Default: OpenMP's. err RANGE */
PF_API pf_status pf_set_threads(pf_ctx *ctx, int threads);
/* bytes held now and at most so far */
PF_API void pf_memory(const pf_ctx *ctx, size_t *used, size_t *peak);
/* ask a running pf_train or pf_generate to stop at its next safe point; safe from a signal handler */
PF_API void pf_cancel(pf_ctx *ctx); /* if none runs, the next one stops at once */

/* ---- tensors -------------------------------------------------------------------------------------------------- */

/* F32 is for use, F64 for checking; both have every operation. I32 holds positions and token ids. The others are
 * storage types of frozen weights: two bytes a value, or llama.cpp's blocks of 32 or (the K types) 256 values along the
 * last dimension, which is a multiple of the block. */
typedef enum pf_dtype {
    PF_F32,
    PF_F64,
    PF_I32,
    PF_BF16,
    PF_F16,
    PF_Q8_0,
    PF_Q4_0,
    PF_Q4_1,
    PF_Q5_0,
    PF_Q5_1,
    PF_Q4_K,
    PF_Q5_K,
    PF_Q6_K,
    PF_DTYPES,
    PF_STORED = PF_DTYPES /* for pf_model_load: each matrix as its file has it */
} pf_dtype;

/* new tensor [dim...], zero filled. nd 0: a scalar. err NOMEM, SHAPE, TYPE. Owned by caller. */
PF_API pf_tensor *pf_tensor_new(pf_ctx *ctx, pf_dtype dtype, int nd, const int64_t *dim);
/* new tensor from n doubles in row order; n must be the number of elements. err NOMEM, SHAPE,
 * TYPE. Owned by caller. */
PF_API pf_tensor *pf_tensor_from(pf_ctx *ctx, pf_dtype dtype, int nd, const int64_t *dim, const double *values,
                                 size_t n);
PF_API pf_tensor *pf_tensor_retain(pf_tensor *t); /* one more owner; returns t */
PF_API void pf_tensor_free(pf_tensor *t);         /* one owner less; NULL is fine */
PF_API pf_dtype pf_tensor_dtype(const pf_tensor *t);
PF_API int pf_tensor_ndim(const pf_tensor *t);
PF_API int64_t pf_tensor_dim(const pf_tensor *t, int i); /* size of dimension i from 0; 1 beyond the last */
PF_API size_t pf_tensor_numel(const pf_tensor *t);
/* copy out to n doubles in row order. err SHAPE if n differs, STATE if the tensor's step has ended */
PF_API pf_status pf_tensor_read(const pf_tensor *t, double *out, size_t n);
/* copy in; backward then refuses histories that have read the old values. err as read, STATE for a tensor that an
 * operation made with gradients on, TYPE for an integer tensor and a value that is none */
PF_API pf_status pf_tensor_write(pf_tensor *t, const double *values, size_t n);
/* the single value of a one-element tensor. err SHAPE, STATE; NaN on failure */
PF_API double pf_tensor_item(const pf_tensor *t);
/* the same values without history, sharing memory: no gradient flows through the result. err NOMEM. Owned by caller. */
PF_API pf_tensor *pf_tensor_detach(pf_tensor *t);
/* make a leaf collect gradients. err STATE for the result of an operation, TYPE for integers */
PF_API pf_status pf_tensor_set_grad(pf_tensor *t, bool on);
PF_API bool pf_tensor_needs_grad(const pf_tensor *t);
PF_API pf_tensor *pf_tensor_grad(const pf_tensor *t); /* borrowed; NULL before the first backward */
PF_API void pf_tensor_zero_grad(pf_tensor *t);        /* forgets the collected gradient */
/* lift a tensor off the current step, so that it outlives pf_step_end; its history is cut. Returns t. */
PF_API pf_tensor *pf_tensor_keep(pf_tensor *t);

/* ---- operations ----------------------------------------------------------------------------------------------- */

typedef enum pf_kind {
    PF_KIND_TENSOR,   /* real tensor, differentiable */
    PF_KIND_CONSTANT, /* real tensor, never differentiated */
    PF_KIND_INDEX,    /* integer tensor of positions: from 0 in C, from 1 in Lua */
    PF_KIND_TOKEN,    /* integer tensor of ids, the same in C and Lua */
    PF_KIND_NUMBER,
    PF_KIND_INTEGER,
    PF_KIND_DIM, /* a dimension: from 0 in C, from 1 in Lua, negative from the end in both */
    PF_KIND_POS, /* a position: from 0 in C, from 1 in Lua */
    PF_KIND_BOOLEAN,
    PF_KIND_CHOICE, /* one of a list of words */
    PF_KIND_SHAPE   /* a list of sizes */
} pf_kind;

typedef struct pf_param {
    const char *name;
    pf_kind kind;
    bool optional;
    double value;        /* default of an optional number, integer, boolean (0 or 1) or choice (its place from 0) */
    const char *choices; /* the words of a choice, separated by spaces */
} pf_param;

typedef struct pf_op_info {
    const char *name;
    const char *doc;     /* what it computes, shapes, units */
    const char *formula; /* losses: the formula; "" otherwise */
    const char *source;  /* losses: paper and equation, or code; "" otherwise */
    bool is_loss;        /* losses take arguments by name; operations by place as well */
    int n_params;
    const pf_param *params;
} pf_op_info;

PF_API int pf_op_count(void);                          /* operations and losses */
PF_API const pf_op_info *pf_op_at(int i);              /* static; NULL out of range */
PF_API const pf_op_info *pf_op_find(const char *name); /* static; NULL if there is none */

typedef struct pf_arg {
    const char *name; /* NULL ends a list */
    enum { PF_ARG_TENSOR, PF_ARG_NUMBER, PF_ARG_TEXT, PF_ARG_SHAPE } tag;
    pf_tensor *tensor;
    double number;
    const char *text;
    const int64_t *dims;
    int n_dims;
} pf_arg;

/* clang-format off */
#define PF_T(name, t) {(name), PF_ARG_TENSOR, (t), 0, NULL, NULL, 0}
#define PF_N(name, x) {(name), PF_ARG_NUMBER, NULL, (x), NULL, NULL, 0}
#define PF_S(name, s) {(name), PF_ARG_TEXT, NULL, 0, (s), NULL, 0}
#define PF_D(name, d, n) {(name), PF_ARG_SHAPE, NULL, 0, NULL, (d), (n)}
#define PF_END {NULL, PF_ARG_TENSOR, NULL, 0, NULL, NULL, 0}
/* clang-format on */

/* apply an operation or loss by name to named arguments; args ends with PF_END. A tensor argument that is NULL gives
 * NULL. Losses also take "reduction" = "mean" (default, 0-d) or "none" ([N]). err NAME, TYPE, SHAPE, RANGE, NOMEM.
 * Result owned by caller. */
PF_API pf_tensor *pf_apply(pf_ctx *ctx, const char *op, const pf_arg *args);
/* pf_call(ctx, "mul", PF_T("x", a), PF_T("y", b)) in C */
#define pf_call(ctx, op, ...) pf_apply((ctx), (op), (const pf_arg[]){__VA_ARGS__, PF_END})

typedef struct pf_metric {
    const char *name; /* TRL's name, static: "rewards/margins" */
    double value;
} pf_metric;
/* metrics of the last loss that was applied on this context; borrowed until the next one */
PF_API const pf_metric *pf_metrics(const pf_ctx *ctx, int *n);

/* ---- gradients ------------------------------------------------------------------------------------------------ */

/* add d(root)/d(leaf) to the gradient of every leaf below root, a one-element tensor. Frees the history.
 * err SHAPE, STATE (no history), NOMEM */
PF_API pf_status pf_backward(pf_tensor *root);
/* switch recording on or off; returns what it was */
PF_API bool pf_set_recording(pf_ctx *ctx, bool on);
/* everything computed from here on belongs to a step ... err NOMEM */
PF_API pf_status pf_step_begin(pf_ctx *ctx);
/* ... and is freed here, at once, whoever still holds it; steps nest */
PF_API void pf_step_end(pf_ctx *ctx);

typedef pf_tensor *(*pf_scalar_fn)(void *ud, pf_tensor *const *inputs, int n);
typedef struct pf_gradcheck_result {
    double worst;   /* largest error, as |analytic - numeric| / max(|numeric|, 1e-3 x largest gradient) */
    int input;      /* where it is: input from 0 ... */
    size_t element; /* ... and element from 0 */
    double analytic, numeric;
} pf_gradcheck_result;
/* compare backward with central differences of f, in double: inputs are F64 tensors, f must return a one-element
 * tensor (owned by the caller, so by this function). err TYPE, SHAPE, NONFINITE, and what f fails with */
PF_API pf_status pf_gradcheck(pf_ctx *ctx, pf_scalar_fn f, void *ud, pf_tensor *const *inputs, int n,
                              pf_gradcheck_result *out);

/* ---- where the time goes -------------------------------------------------------------------------------------- */

typedef struct pf_event {
    const char *name; /* operation or loss; of the optimiser: "adamw", "sgd", "norm" (of the gradients). Static */
    bool backward;
    int layer;             /* from 0; -1 outside of a model's layers */
    double start, seconds; /* start: of a clock that only goes forward */
    double flops; /* that products need: multiplications and additions, not those that save memory by computing again */
    double bytes; /* of the tensors that are read or written, each once */
} pf_event;
typedef void (*pf_observer)(void *ud, const pf_event *e);

/* call f after everything that is computed on this context; NULL: no more. f must not use the context. */
PF_API void pf_observe(pf_ctx *ctx, pf_observer f, void *ud);

/* ---- tokenizers ----------------------------------------------------------------------------------------------- */

typedef struct pf_tokenizer pf_tokenizer;

/* read tokenizer.json: path names it, its directory, where tokenizer_config.json is read too, or a .gguf file.
 * err IO, FORMAT, UNSUPPORTED (names the component), NOMEM. *out owned by caller */
PF_API pf_status pf_tokenizer_load(pf_ctx *ctx, const char *path, pf_tokenizer **out);
PF_API pf_tokenizer *pf_tokenizer_retain(pf_tokenizer *tok); /* one more owner; returns tok */
PF_API void pf_tokenizer_free(pf_tokenizer *tok);            /* one owner less; NULL is fine */
/* text of len bytes to ids; special: add what the post-processor adds (BOS). err FORMAT (not UTF-8), NOMEM.
 * *ids owned by caller, freed by pf_release */
PF_API pf_status pf_tokenizer_encode(pf_tokenizer *tok, const char *text, size_t len, bool special, int32_t **ids,
                                     size_t *n);
/* ids to text, 0-terminated; err RANGE (no such id), NOMEM. *text owned by caller, freed by pf_release */
PF_API pf_status pf_tokenizer_decode(pf_tokenizer *tok, const int32_t *ids, size_t n, bool skip_special, char **text,
                                     size_t *len);
PF_API int32_t pf_tokenizer_id(const pf_tokenizer *tok, const char *token); /* -1 if there is none */
PF_API const char *pf_tokenizer_token(const pf_tokenizer *tok, int32_t id); /* borrowed; NULL if there is none */
PF_API int32_t pf_tokenizer_bos(const pf_tokenizer *tok);                   /* -1 if there is none */
PF_API int32_t pf_tokenizer_eos(const pf_tokenizer *tok);                   /* -1 if there is none */
PF_API size_t pf_tokenizer_size(const pf_tokenizer *tok);                   /* vocabulary with added tokens */
PF_API void pf_release(pf_ctx *ctx, void *p); /* frees what a function said it frees; NULL is fine */

/* ---- models --------------------------------------------------------------------------------------------------- */

typedef struct pf_model pf_model;

/* Load a Hugging Face directory: config.json, the weights in safetensors, and tokenizer.json if it is there; or a GGUF
 * file, with its tokenizer. Tokens that end a text are those of generation_config.json, if it is there. dtype PF_F32 or
 * PF_F64: weights are widened to it and can be trained. PF_STORED, PF_BF16, PF_F16 or PF_Q8_0: matrices stay in the
 * type of the file, or that one (mapped, not copied, where the file has it), and are widened a tile at a time when they
 * are used; no weight collects gradients, so this is for sampling, scoring and training of adapters, in float32. err
 * IO, FORMAT, SHAPE (a weight's), TYPE (dtype), NONFINITE (PF_Q8_0), UNSUPPORTED (unknown architecture or key, by
 * name), NOMEM. *out owned by caller */
PF_API pf_status pf_model_load(pf_ctx *ctx, const char *dir, pf_dtype dtype, pf_model **out);
/* new model with random weights from the text of a config.json: normal with initializer_range, norms 1.
 * tok may be NULL, else it is retained. err as load, RANGE (tok has more tokens than vocab_size). *out owned by caller
 */
PF_API pf_status pf_model_new(pf_ctx *ctx, const char *config_json, pf_tokenizer *tok, uint64_t seed, pf_model **out);
/* a copy with weights of its own that collects no gradients: a reference. err NOMEM. *out owned by caller */
PF_API pf_status pf_model_copy(const pf_model *m, pf_model **out);
/* Write a Hugging Face directory: each file is complete or untouched; weights in the type they have in memory, files
 * that stood beside them unchanged. Or, if path ends with ".gguf", a GGUF file with the tokenizer: matrices as F32, or
 * as the type that the name ends with (NAME-f16.gguf, -bf16, -q8_0). err IO, NOMEM, STATE (there is an adapter),
 * UNSUPPORTED (what llama.cpp would compute in another way, by name) */
PF_API pf_status pf_model_save(const pf_model *m, const char *path);
PF_API pf_model *pf_model_retain(pf_model *m);              /* one more owner; returns m */
PF_API void pf_model_free(pf_model *m);                     /* one owner less; NULL is fine */
PF_API pf_tokenizer *pf_model_tokenizer(const pf_model *m); /* borrowed; NULL if it has none */
PF_API int pf_model_parameter_count(const pf_model *m);
/* parameter i from 0, in the order of the file format's names; borrowed; NULL out of range. A leaf: pf_tensor_grad */
PF_API pf_tensor *pf_model_parameter(const pf_model *m, int i);
PF_API const char *pf_tensor_name(const pf_tensor *t); /* "model.layers.0.self_attn.q_proj.weight"; "" if it has none */
/* size by name: "vocab_size", "hidden_size", "num_hidden_layers", "max_position_embeddings", "parameters",
 * "trainable_parameters", "eos_token_id", "bos_token_id"; -1 if there is no such number */
PF_API int64_t pf_model_size(const pf_model *m, const char *name);
PF_API uint64_t pf_model_fingerprint(const pf_model *m); /* of configuration and present weights */

/* Add a low-rank adapter (LoRA, rsLoRA, DoRA), described as PEFT's adapter_config.json: "r", "lora_alpha",
 * "target_modules" (null: PEFT's choice for the model type), "use_dora", ... The base is frozen, the adapter's
 * parameters join the model's. The new model computes what the base does. seed: of first values and dropout. Dropout
 * acts while history is recorded, and under a trainer draws by the number of the step. err FORMAT, UNSUPPORTED, RANGE,
 * NAME (a target that fits nothing), STATE (there is an adapter already), NOMEM */
PF_API pf_status pf_model_adapt(pf_model *m, const char *config_json, uint64_t seed);
/* go on from a PEFT directory: adapter_config.json and adapter_model.safetensors. err as pf_model_adapt, IO, SHAPE */
PF_API pf_status pf_model_load_adapter(pf_model *m, const char *dir, uint64_t seed);
/* write the adapter as a PEFT directory, or, if path ends with ".gguf", as a LoRA file for llama.cpp. err STATE (no
 * adapter), UNSUPPORTED (what GGUF cannot hold: DoRA, modules to save), IO, NOMEM */
PF_API pf_status pf_model_save_adapter(const pf_model *m, const char *path);
/* add the adapter to the base's weights and take it off: a plain model that collects gradients. A reference that shares
 * the base keeps what it has. err STATE (no adapter, or base weights of a narrow type), NOMEM: nothing is changed */
PF_API pf_status pf_model_merge(pf_model *m);
/* what m was when its training began, without gradients: a copy; with an adapter, the base that it shares with m, and
 * if the adapter was loaded, a copy of that as it is now. err NOMEM. *out owned by caller */
PF_API pf_status pf_model_reference(const pf_model *m, pf_model **out);

/* One token sequence of a batch. Position t is scored if t >= scored_from (at least 1), or, with score, if score[t]
 * is not 0: its log-probability given ids[0..t-1] becomes an entry. */
typedef struct pf_sequence {
    const int32_t *ids;
    size_t n;
    size_t scored_from;
    const uint8_t *score;  /* [n] or NULL */
    const int32_t *step;   /* [n] or NULL: from 1, 0 outside any step */
    const int32_t *target; /* [n] or NULL: what to predict where it is not ids[t] (masked input) */
} pf_sequence;

/* A batch is a forest: sequences that begin alike share nodes, each distinct (prefix, token) is computed once.
 * Entries stand in the order given: sequence, then position. */
typedef struct pf_batch pf_batch;
/* err RANGE (empty sequence, position 0 scored, nothing scored), NOMEM. Copies the sequences. *out owned by caller */
PF_API pf_status pf_batch_new(pf_ctx *ctx, const pf_sequence *s, size_t n, pf_batch **out);
PF_API void pf_batch_free(pf_batch *b); /* NULL is fine */
/* "sequence" and "step" [T]: whose an entry is, sequence from 0, step from 1 (0: none); "target" [T]; "length"
 * [B]: entries a sequence, real. Borrowed; NULL: no such name */
PF_API pf_tensor *pf_batch_tensor(const pf_batch *b, const char *name);
/* "sequences", "entries", "tokens" (in all sequences), "nodes" (computed: distinct prefixes), "longest" (tokens of the
 * longest sequence that are computed); -1: no such name */
PF_API int64_t pf_batch_size(const pf_batch *b, const char *name);

/* logits [n, V] after each of n ids, differentiable. err RANGE (no id, an id beyond the vocabulary, or longer than the
 * model's context), NOMEM. Owned by caller. */
PF_API pf_tensor *pf_model_logits(pf_model *m, const int32_t *ids, size_t n);
/* log-probability [T] of every scored token of the batch, nats, differentiable. stats: NULL, or receives [T, 4],
 * constant: entropy, 1 if the target is the likeliest token, mean logit, log of the sum of squared probabilities
 * (owned by caller). err RANGE, NOMEM. Owned by caller. */
PF_API pf_tensor *pf_model_logp(pf_model *m, const pf_batch *b, pf_tensor **stats);
/* Log-probabilities of the scored tokens of n sequences under m, in the order of a batch's entries, computed in
 * batches, without history. cache: NULL, or a file that keeps them, bound to a fingerprint of weights, tokenizer and
 * sequences: one that does not fit or is corrupt is replaced, never used. *cached (may be NULL): read, not computed.
 * After success pf_errmsg says why a cache was replaced, or is "". err IO, RANGE, NONFINITE, NOMEM, CANCELLED. *logp
 * owned by caller, freed by pf_release; *n_logp entries */
PF_API pf_status pf_reference_logp(pf_model *m, const pf_sequence *s, size_t n, const char *cache, float **logp,
                                   size_t *n_logp, bool *cached);

/* ---- generating ----------------------------------------------------------------------------------------------- */

/* A new token of a sample. Its text is what is certain now: a token may be half a character, or begin a stop text; the
 * rest comes with a later one. Joined, the texts of a sample are its text (unless it was ended by on_token, or the
 * decoder took back what it had said before). */
typedef struct pf_token {
    size_t prompt; /* from 0 */
    int sample;    /* of the prompt, from 0 */
    int32_t id;
    float logp;       /* nats, at temperature 1 over the whole vocabulary */
    const char *text; /* valid UTF-8, text_len bytes; borrowed; "" without tokenizer */
    size_t text_len;
    bool last; /* of the sample */
} pf_token;

typedef struct pf_generate_options {
    int samples;             /* a prompt; at least 1 */
    int max_tokens;          /* new tokens a sample at most; 0: what the context leaves */
    double temperature;      /* 0: greedy */
    int top_k;               /* 0: all */
    double top_p;            /* 1: all */
    double min_p;            /* 0: all */
    const char *const *stop; /* texts that end a sample (and are cut from text, not from ids); NULL or n_stop of them */
    int n_stop;
    const int32_t *stop_ids; /* further tokens that end a sample, besides the model's own EOS */
    int n_stop_ids;
    uint64_t seed;
    int batch; /* samples computed together; 0: chosen */
    /* PF_F32, or PF_BF16: what goes into products with bfloat16 weights is rounded to bfloat16 where the processor
     * multiplies such numbers, which it does at twice the rate; elsewhere it makes no difference */
    pf_dtype compute;
    pf_dtype kv; /* keys and values: PF_F32, or PF_F16, which takes half the memory */
    /* told of every token as it comes, in the calling thread; false ends its sample there. May be NULL */
    bool (*on_token)(void *ud, const pf_token *t);
    void *ud;
} pf_generate_options;

typedef enum pf_finish { PF_FINISH_EOS, PF_FINISH_STOP, PF_FINISH_LENGTH, PF_FINISH_CANCELLED } pf_finish;

typedef struct pf_sample {
    int32_t *ids; /* new tokens, EOS or stop token included */
    float *logp;  /* [n] nats, at temperature 1 over the whole vocabulary */
    size_t n;
    char *text; /* decoded without special tokens and cut at the stop text; NULL without tokenizer */
    size_t text_len;
    pf_finish finish;
} pf_sample;

/* defaults: 1 sample, temperature 1, nothing cut off, seed 0 */
PF_API pf_generate_options pf_generate_defaults(void);
/* Continue each of n prompts (ids, or a prefix of an answer: any prefix) opt->samples times. The draw depends on seed,
 * prompt and number of the sample alone, not on what else is in the batch. *out: n x samples, prompt by prompt, owned
 * by caller, freed by pf_samples_free. err RANGE (an option; an empty prompt, an id beyond the vocabulary, or a prompt
 * that fills the context), TYPE (a model that is not F32), STATE (stop texts without a tokenizer), NONFINITE (logits),
 * CANCELLED, NOMEM */
PF_API pf_status pf_generate(pf_model *m, const pf_sequence *prompts, size_t n, const pf_generate_options *opt,
                             pf_sample **out);
PF_API void pf_samples_free(pf_ctx *ctx, pf_sample *s, size_t n); /* n: all of them; NULL is fine */

/* ---- training ------------------------------------------------------------------------------------------------- */

/* Settings for parameters whose name matches a pattern ("*.q_proj.weight", shell style); the first that matches. */
typedef struct pf_param_group {
    const char *pattern;
    double lr_scale;     /* times the learning rate; 0 freezes */
    double weight_decay; /* instead of the general one */
} pf_param_group;

typedef struct pf_trainer_options {
    /* "adamw", "sgd", or "adamw_8bit": AdamW with moments of 8 bits (Dettmers et al. 2022), but for small parameters */
    const char *optimizer;
    double lr;                /* peak learning rate */
    double beta1, beta2, eps; /* AdamW (Loshchilov and Hutter 2019); defaults as PyTorch */
    double weight_decay;
    double momentum;      /* SGD */
    const char *schedule; /* "constant", "linear" (to 0) or "cosine" (to 0), after warm-up */
    int64_t warmup;       /* steps of linear warm-up from 0 */
    int64_t steps;        /* length of the run, which the schedule needs */
    double clip;          /* largest global gradient norm; 0: no clipping */
    int bad_steps;        /* non-finite steps in a row after which to stop; 0: 5 */
    /* Less memory for more time: the first of the layers, this many, are computed again in backward, with the same
     * bits; batches of more than part tokens (0: none) are computed in parts, and these again in backward. */
    int64_t recompute, part;
    const pf_param_group *groups;
    int n_groups;
} pf_trainer_options;

typedef struct pf_step_info {
    int64_t step;     /* updates done, skipped ones included */
    double loss;      /* sum over the accumulated parts */
    double grad_norm; /* before clipping */
    double lr;
    bool skipped;     /* loss or gradient was not finite: nothing was changed */
    const char *what; /* name of the first non-finite thing; "" if none */
} pf_step_info;

typedef struct pf_trainer pf_trainer;
/* defaults: AdamW as in PyTorch at a constant rate of 1e-3, clipped at norm 1 */
PF_API pf_trainer_options pf_trainer_defaults(void);
/* a trainer of the parameters that collect gradients, or a part of them by groups; the options are copied. err NAME
 * (optimizer, schedule, a group's pattern that matches nothing), RANGE, STATE (nothing to train, or a parameter that is
 * a view), NOMEM. Retains the model. *out owned by caller */
PF_API pf_status pf_trainer_new(pf_model *m, const pf_trainer_options *o, pf_trainer **out);
PF_API void pf_trainer_free(pf_trainer *t); /* NULL is fine; the model stays */
/* backward of scale x loss, a one-element tensor, into the gradients; a loss that is not finite marks the step as bad.
 * err SHAPE, RANGE (scale), STATE (no history), NOMEM */
PF_API pf_status pf_trainer_accumulate(pf_trainer *t, pf_tensor *loss, double scale);
/* clip, update, forget the gradients. lr < 0: the schedule's rate (with warm-up the first update has rate 0, as in
 * Hugging Face), else this one. err NONFINITE after too many bad steps in a row (a single one is PF_OK with
 * info->skipped), STATE if nothing was accumulated, RANGE (lr is not finite) */
PF_API pf_status pf_trainer_step(pf_trainer *t, double lr, pf_step_info *info);
/* One file, atomically: weights, optimiser, step, and n bytes of the caller's own. zstd with checksum. err IO, NOMEM,
 * STATE between accumulations */
PF_API pf_status pf_trainer_save(pf_trainer *t, const char *path, const void *extra, size_t n);
/* *extra owned by caller, freed by pf_release; extra and n may be NULL. A corrupt or unfitting checkpoint is refused
 * and changes nothing. err IO, FORMAT, SHAPE, TYPE, STATE (other options or other frozen weights), NOMEM */
PF_API pf_status pf_trainer_restore(pf_trainer *t, const char *path, void **extra, size_t *n);

/* A preference: texts in memory. chosen and rejected follow the prompt and are finished (EOS is added). */
typedef struct pf_pair {
    const char *prompt, *chosen, *rejected;
} pf_pair;

typedef struct pf_train_info {
    pf_step_info step;
    const pf_metric *metrics; /* of the loss, under TRL's names */
    int n_metrics;
} pf_train_info;

typedef struct pf_train_options {
    pf_trainer_options trainer;
    const char *variant; /* of the loss "dpo" */
    double beta;
    int batch;     /* pairs an update */
    uint64_t seed; /* order of the pairs */
    size_t memory; /* bytes that the context and mapped weights may take: trainer.recompute and part are chosen so that
                      it fits. 0: no limit */
    void (*on_step)(void *ud, const pf_train_info *info); /* may be NULL; may call pf_cancel */
    void *ud;
} pf_train_options;

/* defaults: "sigmoid", beta 0.1, 100 updates of 8 pairs, AdamW without decay, rate from 1e-4 linearly to 0 */
PF_API pf_train_options pf_train_defaults(void);
/* Direct preference optimisation (Rafailov et al. 2023) on pairs in memory, against the model as it is at the start;
 * runs trainer.steps updates. err RANGE (no pairs; a pair longer than the context, by number; too little memory), STATE
 * (no tokenizer, or no EOS), FORMAT (not UTF-8), CANCELLED (the model keeps what the finished steps taught it),
 * NONFINITE, NOMEM, and as pf_trainer_new */
PF_API pf_status pf_train(pf_model *m, const pf_pair *pairs, size_t n, const pf_train_options *o);

#ifdef __cplusplus
}
#endif
#endif
