/* Every operation and loss of the registry, by its worked cases. `test_ops NAME` looks at one. Nothing here knows an
 * operation by name: a new one is tested by being there. */
#include "harness.h"

enum { LARGE = 600 }; /* a case with more values, result included, is for the threads: too many for differences */

#define TOLERANCE     1e-6 /* analytic against central differences, both in double */
#define TOLERANCE_F32 1e-5 /* float against double */
#define TOLERANCE_F64 1e-12

static struct { long ops, losses, cases, bad_calls, slopes, mutants, injected, failures; } count;

static harness_memory memory;
static bool seen[PF_MAX_INPUTS]; /* inputs of the present operation whose gradient some case sees */

static void fail(const harness_case *h, const char *fmt, ...) PF_FORMAT_ATTR(2, 3);
static void fail(const harness_case *h, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    printf("FAIL %s, case %d (%s): ", h->op->info.name, h->place, h->from->args ? h->from->args : "");
    vprintf(fmt, ap);
    printf("\n");
    va_end(ap);
    count.failures++;
}

static unsigned every_input(const harness_case *h) {
    unsigned mask = 0;
    for (int k = 0; k < h->n_in; k++)
        if (harness_differentiable(h, k)) mask |= 1u << k;
    return mask;
}

/* a run that must succeed */
static bool go(pf_ctx *ctx, const harness_case *h, const harness_run *run, harness_result *out) {
    harness_go(ctx, h, run, out);
    if (out->status == PF_OK && out->y) return true;
    fail(h, "%s: %s", pf_strstatus(out->status), pf_errmsg(ctx));
    return false;
}

static double largest_gradient(const harness_case *h, const harness_result *r) {
    double most = 0;
    for (int k = 0; k < h->n_in; k++)
        if (r->grad[k]) most = fmax(most, harness_largest(r->grad[k], h->numel[k]));
    return most;
}

/* two runs that must agree to a tolerance; 0: to the bit */
static void compare(const harness_case *h, const char *what, const harness_result *a, const harness_result *b,
                    double scale, double tolerance) {
    double d = a->n == b->n ? harness_distance(a->y, b->y, a->n, 1, 0) : HUGE_VAL;
    if (!(d <= tolerance)) fail(h, "%s: results differ by %g", what, d);
    const double largest = largest_gradient(h, b);
    for (int k = 0; k < h->n_in; k++) {
        if (!a->grad[k] && !b->grad[k]) continue;
        d = a->grad[k] && b->grad[k] ? harness_distance(a->grad[k], b->grad[k], h->numel[k], scale, largest) : HUGE_VAL;
        if (!(d <= tolerance)) fail(h, "%s: gradients of %s differ by %g", what, h->in[k]->name, d);
    }
}

/* ---- gradients ---- */

static bool weighted_sum(pf_ctx *ctx, const harness_case *h, double *out) {
    const harness_run run = {.dtype = PF_F64};
    harness_result r;
    bool ok = go(ctx, h, &run, &r);
    *out = 0;
    for (size_t i = 0; ok && i < r.n; i++) *out += harness_weight(h, i) * r.y[i];
    harness_result_free(&r);
    return ok;
}

/* central differences of the weighted sum of the result in every value of input k */
static double *slopes(pf_ctx *ctx, harness_case *h, int k) {
    double *out = calloc(h->numel[k] + 1, sizeof *out);
    for (size_t i = 0; out && i < h->numel[k]; i++) {
        double *x = &h->value[k][i], at = *x, step = 1e-5 * fmax(1, fabs(at)), value[2], place[2];
        for (int side = 0; side < 2; side++) {
            *x = side ? at - step : at + step;
            place[side] = *x;
            if (!weighted_sum(ctx, h, &value[side])) i = h->numel[k];
        }
        *x = at;
        if (i < h->numel[k]) out[i] = (value[0] - value[1]) / (place[0] - place[1]);
        count.slopes++;
    }
    return out;
}

static void check_slopes(const harness_case *h, int k, const double *analytic, const double *numeric, double largest) {
    static const double mutant[] = {2, -1, 0};
    const size_t n = h->numel[k];
    for (size_t i = 0; i < n; i++) {
        double d = fabs(analytic[i] - numeric[i]) / fmax(fmax(fabs(numeric[i]), 1e-3 * largest), 1e-300);
        if (analytic[i] == numeric[i] || d <= TOLERANCE) continue;
        fail(h, "gradient of %s, element %zu: %.9g, but differences give %.9g", h->in[k]->name, i + 1, analytic[i],
             numeric[i]);
        return;
    }
    if (harness_largest(analytic, n) == 0 && harness_largest(numeric, n) == 0) return; /* this choice ignores it */
    seen[k] = true;
    for (int m = 0; m < PFI_COUNT(mutant); m++, count.mutants++)
        if (!(harness_distance(analytic, numeric, n, mutant[m], largest) > 100 * TOLERANCE))
            fail(h, "blind: the gradient of %s times %g would pass", h->in[k]->name, mutant[m]);
}

static void check_gradient(pf_ctx *ctx, harness_case *h, const harness_result *ref) {
    double *numeric[PF_MAX_INPUTS] = {NULL}, largest = 0;
    for (int k = 0; k < h->n_in; k++) {
        if (!harness_differentiable(h, k)) continue;
        numeric[k] = slopes(ctx, h, k);
        if (numeric[k]) largest = fmax(largest, harness_largest(numeric[k], h->numel[k]));
    }
    for (int k = 0; k < h->n_in; k++) {
        if (numeric[k] && ref->grad[k])
            check_slopes(h, k, ref->grad[k], numeric[k], largest);
        else if (numeric[k])
            fail(h, "%s got no gradient", h->in[k]->name);
        free(numeric[k]);
    }
}

/* ---- other ways to run the same ---- */

static void check_subsets(pf_ctx *ctx, const harness_case *h, const harness_result *ref) {
    const unsigned all = every_input(h);
    for (int k = -1; k < h->n_in; k++) {
        if (k >= 0 && !(all >> k & 1u)) continue;
        const harness_run run = {.dtype = PF_F64, .grad = k < 0 ? 0 : 1u << k};
        harness_result r;
        if (go(ctx, h, &run, &r)) {
            if (r.extra_grad) fail(h, "an input that collects no gradients has one");
            if (r.needs_grad != (k >= 0)) fail(h, "the result needs a gradient: %d, expected %d", r.needs_grad, k >= 0);
            if (harness_distance(r.y, ref->y, ref->n, 1, 0) != 0) fail(h, "the result depends on who needs gradients");
            if (k >= 0 && (!r.grad[k] || harness_distance(r.grad[k], ref->grad[k], h->numel[k], 1, 0) != 0))
                fail(h, "the gradient of %s depends on who else needs one", h->in[k]->name);
        }
        harness_result_free(&r);
    }
}

static void check_variant(pf_ctx *ctx, const harness_case *h, const char *what, harness_run run,
                          const harness_result *ref, double scale, double tolerance) {
    harness_result r;
    run.grad = every_input(h);
    if (go(ctx, h, &run, &r)) compare(h, what, &r, ref, scale, tolerance);
    harness_result_free(&r);
}

/* one tensor at two places collects the sum of both gradients */
static void check_shared(pf_ctx *ctx, harness_case *h) {
    for (int j = 1; j < h->n_in; j++)
        for (int i = 0; i < j; i++) {
            if (!harness_differentiable(h, i) || !harness_differentiable(h, j) || h->nd[i] != h->nd[j] ||
                memcmp(h->from->dim[i], h->from->dim[j], sizeof h->from->dim[i]) != 0)
                continue;
            const harness_run one = {.dtype = PF_F64, .grad = every_input(h), .share = i, .with = j};
            const harness_run two = {.dtype = PF_F64, .grad = every_input(h)};
            double *own = h->value[j];
            harness_result a, b;
            h->value[j] = h->value[i];
            harness_go(ctx, h, &two, &b);
            bool finite = b.status == PF_OK && b.grad[i] && b.grad[j];
            for (size_t e = 0; finite && e < h->numel[i]; e++) finite = isfinite(b.grad[i][e] += b.grad[j][e]);
            if (finite && go(ctx, h, &one, &a)) {
                double most = fmax(harness_largest(b.grad[i], h->numel[i]), harness_largest(b.grad[j], h->numel[i]));
                double d = a.grad[i] ? harness_distance(a.grad[i], b.grad[i], h->numel[i], 1, 1e3 * most) : HUGE_VAL;
                if (!(d <= TOLERANCE_F64))
                    fail(h, "one tensor as %s and %s: gradient differs by %g", h->in[i]->name, h->in[j]->name, d);
                harness_result_free(&a);
            }
            harness_result_free(&b);
            h->value[j] = own;
        }
}

static void check_threads(pf_ctx *ctx, const harness_case *h, pf_dtype dtype) {
    harness_result ref = {0};
    for (int threads = 1; threads <= 3; threads++) {
        const harness_run run = {.dtype = dtype, .grad = every_input(h)};
        harness_result r;
        pf_set_threads(ctx, threads);
        if (!go(ctx, h, &run, &r)) {
            harness_result_free(&r);
            break;
        }
        if (threads > 1) compare(h, threads == 2 ? "two threads" : "three threads", &r, &ref, 1, 0);
        if (threads > 1)
            harness_result_free(&r);
        else
            ref = r;
    }
    pf_set_threads(ctx, 1);
    harness_result_free(&ref);
}

/* ---- failures ---- */

static void check_memory_failures(pf_ctx *ctx, const harness_case *h) {
    const harness_run run = {.dtype = PF_F32, .grad = every_input(h)};
    const long blocks = memory.blocks;
    const size_t used = ctx->used;
    for (int persistent = 0; persistent < 2; persistent++) {
        for (long k = 0;; k++) {
            harness_result r;
            memory.calls = 0;
            memory.fail_at = k;
            memory.persistent = persistent;
            memory.failed = false;
            harness_go(ctx, h, &run, &r);
            memory.fail_at = -1;
            pf_status s = r.status;
            harness_result_free(&r);
            if (memory.blocks != blocks || ctx->used != used || ctx->holds != 1 || ctx->step || !ctx->recording) {
                fail(h, "allocation %ld failed%s: %ld blocks, %zu bytes left", k,
                     persistent ? " with all that follow" : "", memory.blocks - blocks, ctx->used - used);
                return;
            }
            if (!memory.failed) break;
            count.injected++;
            if (s != PF_NOMEM || pf_errcode(ctx) != PF_NOMEM || !*pf_errmsg(ctx))
                fail(h, "allocation %ld failed: status \"%s\", message \"%s\"", k, pf_strstatus(s), pf_errmsg(ctx));
        }
    }
}

static void check_wrong_types(pf_ctx *ctx, const harness_case *h) {
    for (int k = 0; k < h->n_in; k++) {
        if (h->nd[k] < 0) continue;
        harness_result r;
        harness_go(ctx, h, &(harness_run){.dtype = PF_F32, .wrong = k + 1}, &r);
        if (r.status != PF_TYPE || !strstr(pf_errmsg(ctx), h->op->info.name))
            fail(h, "%s of a wrong type: \"%s\", message \"%s\"", h->in[k]->name, pf_strstatus(r.status),
                 pf_errmsg(ctx));
        harness_result_free(&r);
        count.bad_calls++;
    }
}

static void check_refusal(pf_ctx *ctx, const harness_case *h) {
    for (pf_dtype dtype = PF_F32; dtype <= PF_F64; dtype++) {
        harness_result r;
        ctx->message[0] = 0;
        harness_go(ctx, h, &(harness_run){.dtype = dtype, .grad = every_input(h)}, &r);
        if (r.status != h->from->want || pf_errcode(ctx) != h->from->want)
            fail(h, "status \"%s\", expected \"%s\"", pf_strstatus(r.status), pf_strstatus(h->from->want));
        else if (!strstr(pf_errmsg(ctx), h->op->info.name))
            fail(h, "the message does not name it: \"%s\"", pf_errmsg(ctx));
        harness_result_free(&r);
    }
    count.bad_calls++;
}

/* ---- the walk ---- */

static void check_small(pf_ctx *ctx, harness_case *h, const harness_result *ref) {
    check_gradient(ctx, h, ref);
    check_subsets(ctx, h, ref);
    check_variant(ctx, h, "strided inputs", (harness_run){.dtype = PF_F64, .strided = true}, ref, 1, TOLERANCE_F64);
    if (every_input(h))
        check_variant(ctx, h, "twice", (harness_run){.dtype = PF_F64, .twice = true}, ref, 0.5, TOLERANCE_F64);
    check_shared(ctx, h);
    check_memory_failures(ctx, h);
}

static void check_case(pf_ctx *ctx, harness_case *h) {
    if (h->from->want != PF_OK) {
        check_refusal(ctx, h);
        return;
    }
    const harness_run run = {.dtype = PF_F64, .grad = every_input(h)};
    harness_result ref;
    size_t size = 0;
    for (int k = 0; k < h->n_in; k++) size += h->numel[k];
    if (go(ctx, h, &run, &ref)) {
        for (size_t i = 0; i < ref.n; i++)
            if (!isfinite(ref.y[i])) {
                fail(h, "element %zu of the result is %g", i + 1, ref.y[i]);
                break;
            }
        if (ref.n == 0) fail(h, "the result is empty: it checks nothing");
        check_variant(ctx, h, "float", (harness_run){.dtype = PF_F32}, &ref, 1, TOLERANCE_F32);
        check_threads(ctx, h, PF_F32);
        check_threads(ctx, h, PF_F64);
        check_wrong_types(ctx, h);
        if (size + ref.n <= LARGE) check_small(ctx, h, &ref);
        count.cases++;
    }
    harness_result_free(&ref);
}

static void check_op(const pfi_op *op) {
    int good = 0;
    memset(seen, 0, sizeof seen);
    for (int i = 0; i < op->n_cases; i++) {
        memory = (harness_memory){.fail_at = -1};
        pf_ctx *ctx;
        harness_case h;
        bool opened = harness_open(&h, op, i) && pf_open(&ctx, &(pf_allocator){harness_realloc, &memory}) == PF_OK;
        if (!opened) {
            fail(&h, "no memory for the test itself");
            continue;
        }
        pf_set_threads(ctx, 1);
        ctx->reuse = false; /* what is read before it is written must be NaN */
        check_case(ctx, &h);
        if (ctx->holds != 1 || ctx->used != sizeof *ctx) fail(&h, "%zu bytes left", ctx->used - sizeof *ctx);
        pf_close(ctx);
        if (memory.blocks || memory.bytes) fail(&h, "%ld blocks left after closing", memory.blocks);
        if (memory.broken) fail(&h, "%ld blocks were written beyond their ends", memory.broken);
        good += h.from->want == PF_OK;
        harness_close(&h);
    }
    const pf_op_info *info = &op->info;
    for (int i = 0, k = 0; i < info->n_params; i++) {
        if (!harness_is_tensor(info->params[i].kind)) continue;
        if (info->params[i].kind == PF_KIND_TENSOR && !(op->flags & PFI_NO_GRAD) && !seen[k]) {
            printf("FAIL %s: blind: no case sees the gradient of %s\n", info->name, info->params[i].name);
            count.failures++;
        }
        k++;
    }
    if (!good || !info->doc || !*info->doc || !info->formula || !info->source ||
        (info->is_loss && (!*info->formula || !*info->source))) {
        printf("FAIL %s: it needs cases that succeed and a text%s\n", info->name,
               info->is_loss ? ", a formula and a source" : "");
        count.failures++;
    }
    const unsigned inputs = (1u << PFI_RESULT) - 1;
    if (op->flags & PFI_CHEAP && (op->unread & inputs || !(op->unread >> PFI_RESULT & 1) || op->metrics)) {
        printf("FAIL %s: what is made again needs a backward that reads all inputs and not the result\n", info->name);
        count.failures++;
    }
    if (info->is_loss)
        count.losses++;
    else
        count.ops++;
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 0; i < pf_op_count(); i++) {
        const pfi_op *op = pfi_op_nth(i, PF_F64);
        if (argc > 1 && strcmp(argv[1], op->info.name) != 0) continue;
        check_op(op);
    }
    if (count.ops + count.losses == 0) {
        printf("FAIL there is no operation \"%s\"\n", argc > 1 ? argv[1] : "");
        return 1;
    }
    printf("%ld operations and %ld losses, %ld cases: %ld slopes, %ld mutants rejected, %ld allocation failures, %ld "
           "refused calls; %ld failures\n",
           count.ops, count.losses, count.cases, count.slopes, count.mutants, count.injected, count.bad_calls,
           count.failures);
    return count.failures != 0;
}
