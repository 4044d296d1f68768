/* train: optimisers, schedules, checkpoints, reference log-probabilities, the loop. Internal. */
#ifndef PFI_TRAIN_H
#define PFI_TRAIN_H

#include "tensor/tensor.h"

typedef enum pfi_optimizer { PFI_ADAMW, PFI_SGD, PFI_ADAMW8 } pfi_optimizer;
typedef enum pfi_schedule { PFI_CONSTANT, PFI_LINEAR, PFI_COSINE } pfi_schedule;

/* A parameter and its optimiser state. */
typedef struct pfi_train_item {
    pf_tensor *w;
    /* Moments in w's type: AdamW both; SGD with momentum m alone; NULL if not used. With scales (AdamW in 8 bits) m and
     * v hold codes, four to a number, a row for each scale. */
    pf_tensor *m, *v, *m_scale, *v_scale;
    double lr_scale, weight_decay;
    int32_t updates; /* of this parameter, for the bias correction; a step without gradient is none */
    bool frozen;
    bool was_grad; /* collected gradients before this trainer froze it */
} pfi_train_item;

struct pf_trainer {
    pf_ctx *ctx;
    pf_model *model;      /* retained; NULL for a bare list of parameters */
    pf_trainer_options o; /* the texts and groups in it are not kept */
    pfi_optimizer optimizer;
    pfi_schedule schedule;
    pfi_train_item *item;
    int n;
    double *block; /* scratch of the gradient norm */
    int64_t step;  /* steps done, skipped ones included */
    int32_t bad;   /* skipped steps in a row */
    double loss;   /* sum of this step's parts */
    bool bad_loss; /* one of them was not finite */
    bool hashed;   /* frozen_hash is known */
    uint64_t frozen_hash;
};

/* pf_trainer_new for any list of named leaves, all of one context. The tensors are retained. */
pf_status pfi_trainer_make(pf_ctx *ctx, pf_tensor *const *params, int n, const pf_trainer_options *o, pf_trainer **out);

/* options.c: words and numbers checked, words as enums. err NAME, RANGE */
pf_status pfi_train_check(pf_ctx *ctx, const pf_trainer_options *o, pfi_optimizer *optimizer, pfi_schedule *schedule);
const char *pfi_train_optimizer(pfi_optimizer o); /* its word */
/* settings of one parameter by the first group that matches its name */
void pfi_train_group(const pf_trainer_options *o, pfi_train_item *item);
/* The learning rate used for step number step, counted from 0: lr step / warmup during warm-up, then lr, or falling
 * to 0 at o->steps linearly or along half a cosine; 0 beyond. As Hugging Face's get_scheduler. */
double pfi_train_rate(const pf_trainer_options *o, pfi_schedule schedule, int64_t step);

/* gradients and parts of the step under way are dropped */
void pfi_trainer_forget(pf_trainer *t);
/* a part of the next step has been accumulated */
bool pfi_trainer_pending(const pf_trainer *t);

/* Which of n items stands at place i of the order of an epoch: a permutation of 0..n-1 that is a pure function of its
 * arguments, so that position in the data is a single number. */
size_t pfi_shuffled(uint64_t seed, uint64_t epoch, size_t n, size_t i);

#endif
