/* What a weight of a file becomes in memory: widened, so that it can be trained, or kept as it is stored. */
#include "kernel/kernel.h"
#include "model/model.h"

pf_status pfi_keep_check(pf_ctx *ctx, pf_dtype keep) {
    if (keep == PF_F64 || keep == PF_STORED || ((unsigned)keep < PF_DTYPES && pfk_narrows(keep))) return PF_OK;
    return pfi_fail(ctx, PF_TYPE,
                    "a model's weights are held as float32, float64, bfloat16, float16, q8_0 or as stored, not as %s",
                    pfi_dtype_name(keep));
}

/* rows of src[rows, cols] in the order of row (NULL: as they are), byte for byte */
static void keep_rows(const pf_tensor *src, pf_tensor *t, const int64_t *row) {
    const size_t bytes = pfi_dtype_bytes(src->dtype, (size_t)src->dim[1]);
    for (int64_t i = 0; i < src->dim[0]; i++)
        memcpy((char *)pfi_data(t) + (size_t)i * bytes,
               (const char *)pfi_data(src) + (size_t)(row ? row[i] : i) * bytes, bytes);
}

static pf_status keep_narrow(const pf_tensor *src, pf_tensor *t, const int64_t *row) {
    const int64_t cols = src->dim[1];
    const size_t from = pfi_dtype_bytes(src->dtype, (size_t)cols), to = pfi_dtype_bytes(t->dtype, (size_t)cols);
    float *x = pfi_alloc(t->ctx, (size_t)cols * sizeof *x);
    if (!x) return PF_NOMEM;
    pf_status s = PF_OK;
    for (int64_t i = 0; s == PF_OK && i < src->dim[0]; i++) {
        pfk_widen_f32(src->dtype, (const char *)pfi_data(src) + (size_t)(row ? row[i] : i) * from, x, cols);
        for (int64_t k = 0; t->dtype == PF_Q8_0 && k < cols; k++)
            if (!(x[k] - x[k] == 0)) s = pfi_fail(t->ctx, PF_NONFINITE, "a value is not finite: q8_0 cannot hold it");
        if (s == PF_OK) pfk_narrow(t->dtype, (char *)pfi_data(t) + (size_t)i * to, x, cols);
    }
    pfi_free(t->ctx, x);
    return s;
}

pf_tensor *pfi_keep(pf_tensor *src, pf_dtype keep, const int64_t *row) {
    pf_dtype as = keep != PF_STORED ? keep : pfi_dtype_stored(src->dtype) ? src->dtype : PF_F32;
    if (as == src->dtype && !row) return pf_tensor_retain(src);
    pf_tensor *t = pfi_tensor_make(src->ctx, as, src->nd, src->dim);
    if (!t) return NULL;
    pf_status s = PF_OK;
    if (as == src->dtype)
        keep_rows(src, t, row);
    else
        s = keep_narrow(src, t, row);
    if (s == PF_OK) return t;
    pf_tensor_free(t);
    return NULL;
}
