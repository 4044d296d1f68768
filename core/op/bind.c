/* Named arguments to an operation's places: pf_apply. */
#include "op/op.h"

#include <math.h>

typedef struct bind_args {
    pf_tensor *in[PF_MAX_INPUTS];
    double num[PF_MAX_PARAMS];
    const int64_t *shape;
    int n_shape;
} bind_args;

static bool bind_is_tensor(pf_kind k) { return k <= PF_KIND_TOKEN; }

static pf_status bind_unknown(pf_ctx *ctx, const pf_op_info *op, const char *name) {
    const char *names[PF_MAX_INPUTS + PF_MAX_PARAMS + 1];
    int n = 0;
    for (int i = 0; i < op->n_params; i++) names[n++] = op->params[i].name;
    if (op->is_loss) names[n++] = "reduction";
    const char *near = pfi_nearest(name, names, n);
    return pfi_fail(ctx, PF_NAME, "%s has no argument \"%s\"%s%s%s", op->name, name, near ? "; did you mean \"" : "",
                    near ? near : "", near ? "\"?" : "");
}

/* place of a word in a list separated by spaces; -1 if it is not there */
static int bind_word(const char *list, const char *word) {
    size_t len = strlen(word);
    int place = 0;
    for (const char *p = list; *p; place++) {
        size_t n = strcspn(p, " ");
        if (n == len && memcmp(p, word, n) == 0) return place;
        p += n + (p[n] == ' ');
    }
    return -1;
}

static pf_status bind_number(pf_ctx *ctx, const pf_op_info *op, const pf_param *p, const pf_arg *a, double *out) {
    if (p->kind == PF_KIND_CHOICE) {
        if (a->tag != PF_ARG_TEXT) return pfi_fail(ctx, PF_TYPE, "%s: %s must be a word", op->name, p->name);
        int place = bind_word(p->choices, a->text);
        if (place < 0)
            return pfi_fail(ctx, PF_NAME, "%s: %s cannot be \"%s\"; it is one of: %s", op->name, p->name, a->text,
                            p->choices);
        *out = place;
        return PF_OK;
    }
    if (a->tag != PF_ARG_NUMBER) return pfi_fail(ctx, PF_TYPE, "%s: %s must be a number", op->name, p->name);
    if (isnan(a->number)) return pfi_fail(ctx, PF_RANGE, "%s: %s is not a number (NaN)", op->name, p->name);
    if (p->kind != PF_KIND_NUMBER && a->number != floor(a->number))
        return pfi_fail(ctx, PF_TYPE, "%s: %s must be a whole number, got %g", op->name, p->name, a->number);
    *out = a->number;
    return PF_OK;
}

static pf_status bind_one(pf_ctx *ctx, const pf_op_info *op, const pf_arg *a, bind_args *out, bool *given) {
    int tensor = 0, number = 0;
    for (int i = 0; i < op->n_params; i++) {
        const pf_param *p = &op->params[i];
        if (strcmp(p->name, a->name) != 0) {
            tensor += bind_is_tensor(p->kind);
            number += !bind_is_tensor(p->kind) && p->kind != PF_KIND_SHAPE;
            continue;
        }
        given[i] = true;
        if (p->kind == PF_KIND_SHAPE) {
            if (a->tag != PF_ARG_SHAPE || a->n_dims > PF_MAX_DIMS)
                return pfi_fail(ctx, PF_TYPE, "%s: %s must be a list of at most %d sizes", op->name, p->name,
                                PF_MAX_DIMS);
            out->shape = a->dims;
            out->n_shape = a->n_dims;
            return PF_OK;
        }
        if (!bind_is_tensor(p->kind)) return bind_number(ctx, op, p, a, &out->num[number]);
        if (a->tag != PF_ARG_TENSOR) return pfi_fail(ctx, PF_TYPE, "%s: %s must be a tensor", op->name, p->name);
        out->in[tensor] = a->tensor;
        return PF_OK;
    }
    return bind_unknown(ctx, op, a->name);
}

static pf_tensor *bind_reduce(pf_ctx *ctx, pf_tensor *loss, bool mean) {
    if (!mean || !loss || loss->nd == 0) return loss;
    pf_tensor *m = pfi_apply(ctx, "mean", &loss, (double[]){(double)NAN, 0}, NULL, 0);
    pf_tensor_free(loss);
    return m;
}

pf_tensor *pf_apply(pf_ctx *ctx, const char *name, const pf_arg *args) {
    const pf_op_info *op = pf_op_find(name);
    if (!op) {
        pfi_fail(ctx, PF_NAME, "there is no operation \"%s\"", name);
        return NULL;
    }
    bind_args b = {0};
    bool given[PF_MAX_INPUTS + PF_MAX_PARAMS] = {false}, mean = op->is_loss;
    for (int i = 0, k = 0; i < op->n_params; i++)
        if (!bind_is_tensor(op->params[i].kind) && op->params[i].kind != PF_KIND_SHAPE)
            b.num[k++] = op->params[i].value;
    for (const pf_arg *a = args; a->name; a++) {
        if (op->is_loss && strcmp(a->name, "reduction") == 0) {
            if (a->tag != PF_ARG_TEXT || (strcmp(a->text, "mean") != 0 && strcmp(a->text, "none") != 0)) {
                pfi_fail(ctx, PF_NAME, "%s: reduction must be \"mean\" or \"none\"", name);
                return NULL;
            }
            mean = a->text[0] == 'm';
            continue;
        }
        if (a->tag == PF_ARG_TENSOR && !a->tensor) return NULL;
        if (bind_one(ctx, op, a, &b, given) != PF_OK) return NULL;
    }
    for (int i = 0; i < op->n_params; i++)
        if (!given[i] && !op->params[i].optional) {
            pfi_fail(ctx, PF_TYPE, "%s: argument \"%s\" is missing", name, op->params[i].name);
            return NULL;
        }
    return bind_reduce(ctx, pfi_apply(ctx, name, b.in, b.num, b.shape, b.n_shape), mean);
}
