/* Training options: defaults, checks, parameter groups, schedules. */
#include <fnmatch.h>
#include <math.h>

#include "train/train.h"

static const char *const options_optimizers[] = {"adamw", "sgd", "adamw_8bit"}; /* as pfi_optimizer */
static const char *const options_schedules[] = {"constant", "linear", "cosine"};

pf_trainer_options pf_trainer_defaults(void) {
    return (pf_trainer_options){.optimizer = "adamw",
                                .lr = 1e-3,
                                .beta1 = 0.9,
                                .beta2 = 0.999,
                                .eps = 1e-8,
                                .weight_decay = 0.01,
                                .schedule = "constant",
                                .clip = 1,
                                .bad_steps = 5};
}

static pf_status options_word(pf_ctx *ctx, const char *what, const char *word, const char *const *words, int n,
                              int *out) {
    for (int i = 0; word && i < n; i++)
        if (strcmp(word, words[i]) == 0) {
            *out = i;
            return PF_OK;
        }
    char list[128] = "";
    for (int i = 0; i < n; i++) {
        size_t at = strlen(list);
        snprintf(list + at, sizeof list - at, "%s%s", i ? ", " : "", words[i]);
    }
    return pfi_fail(ctx, PF_NAME, "there is no %s \"%s\"; it is one of: %s", what, word ? word : "(null)", list);
}

static pf_status options_between(pf_ctx *ctx, const char *name, double x, double below) {
    if (x >= 0 && x < below) return PF_OK;
    if (isfinite(below)) return pfi_fail(ctx, PF_RANGE, "%s must be at least 0 and below %g, got %g", name, below, x);
    return pfi_fail(ctx, PF_RANGE, "%s must be a finite number from 0, got %g", name, x);
}

static pf_status options_groups(pf_ctx *ctx, const pf_trainer_options *o) {
    if (o->n_groups < 0 || (o->n_groups > 0 && !o->groups))
        return pfi_fail(ctx, PF_RANGE, "n_groups is %d, but there are no groups", o->n_groups);
    for (int i = 0; i < o->n_groups; i++) {
        const pf_param_group *g = &o->groups[i];
        if (!g->pattern) return pfi_fail(ctx, PF_NAME, "parameter group %d has no pattern", i + 1);
        if (options_between(ctx, "lr_scale", g->lr_scale, HUGE_VAL) != PF_OK ||
            options_between(ctx, "weight_decay", g->weight_decay, HUGE_VAL) != PF_OK)
            return pfi_prefix(ctx, "parameter group \"%s\"", g->pattern);
    }
    return PF_OK;
}

pf_status pfi_train_check(pf_ctx *ctx, const pf_trainer_options *o, pfi_optimizer *optimizer, pfi_schedule *schedule) {
    int kind = 0, shape = 0;
    PF_TRY(options_word(ctx, "optimizer", o->optimizer, options_optimizers, PFI_COUNT(options_optimizers), &kind));
    PF_TRY(options_word(ctx, "schedule", o->schedule, options_schedules, PFI_COUNT(options_schedules), &shape));
    *optimizer = (pfi_optimizer)kind;
    *schedule = (pfi_schedule)shape;
    PF_TRY(options_between(ctx, "lr", o->lr, HUGE_VAL));
    PF_TRY(options_between(ctx, "beta1", o->beta1, 1));
    PF_TRY(options_between(ctx, "beta2", o->beta2, 1));
    PF_TRY(options_between(ctx, "eps", o->eps, HUGE_VAL));
    PF_TRY(options_between(ctx, "weight_decay", o->weight_decay, HUGE_VAL));
    PF_TRY(options_between(ctx, "momentum", o->momentum, 1));
    PF_TRY(options_between(ctx, "clip", o->clip, HUGE_VAL));
    if (o->warmup < 0) return pfi_fail(ctx, PF_RANGE, "warmup must be 0 or more steps, got %lld", (long long)o->warmup);
    if (o->steps < 0 || (o->steps == 0 && *schedule != PFI_CONSTANT))
        return pfi_fail(ctx, PF_RANGE, "steps is %lld: the schedule \"%s\" needs the length of the run",
                        (long long)o->steps, o->schedule);
    if (o->bad_steps < 0) return pfi_fail(ctx, PF_RANGE, "bad_steps must be 0 (for 5) or more, got %d", o->bad_steps);
    if (o->recompute < 0 || o->part < 0)
        return pfi_fail(ctx, PF_RANGE, "%s must be 0 or more %s, got %lld", o->recompute < 0 ? "recompute" : "part",
                        o->recompute < 0 ? "layers" : "tokens", (long long)(o->recompute < 0 ? o->recompute : o->part));
    return options_groups(ctx, o);
}

const char *pfi_train_optimizer(pfi_optimizer o) { return options_optimizers[o]; }

void pfi_train_group(const pf_trainer_options *o, pfi_train_item *item) {
    item->lr_scale = 1;
    item->weight_decay = o->weight_decay;
    for (int i = 0; i < o->n_groups; i++) {
        if (fnmatch(o->groups[i].pattern, item->w->name, 0) != 0) continue;
        item->lr_scale = o->groups[i].lr_scale;
        item->weight_decay = o->groups[i].weight_decay;
        return;
    }
}

double pfi_train_rate(const pf_trainer_options *o, pfi_schedule schedule, int64_t step) {
    if (step < o->warmup) return o->lr * ((double)step / (double)o->warmup);
    if (schedule == PFI_CONSTANT) return o->lr;
    int64_t length = PFI_MAX(1, o->steps - o->warmup), left = PFI_MAX(0, o->steps - step);
    if (schedule == PFI_LINEAR) return o->lr * ((double)left / (double)length);
    double progress = PFI_MIN(1, (double)(step - o->warmup) / (double)length);
    return o->lr * 0.5 * (1 + cos(3.141592653589793238463 * progress));
}
