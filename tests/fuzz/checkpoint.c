/* A checkpoint: what stands in the zstd frame, or the frame itself if the input begins like one. A refused checkpoint
 * must leave trainer and weights as they were. */
#include "file/file.h"
#include "fuzz.h"
#include "train/train.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static pf_trainer *checkpoint_trainer(pf_ctx *ctx, pf_tensor *w[2]) {
    const int64_t dim[2] = {2, 3};
    for (int i = 0; i < 2; i++) {
        w[i] = pf_tensor_new(ctx, PF_F32, 2 - i, dim);
        fuzz_check(w[i] != NULL && pf_tensor_set_grad(w[i], true) == PF_OK, "no parameter");
        snprintf(w[i]->name, sizeof w[i]->name, "w%d", i);
        for (size_t k = 0; k < pfi_numel(w[i]); k++) pfi_set(w[i], k, (double)(k + 1));
    }
    pf_trainer_options o = pf_trainer_defaults();
    o.lr = 0.1;
    o.steps = 10;
    pf_trainer *t = NULL;
    pfi_trainer_make(ctx, w, 2, &o, &t);
    fuzz_check(t != NULL, pf_errmsg(ctx));
    return t;
}

static void checkpoint_restore_from(pf_trainer *t, pf_tensor *const w[2], const void *p, size_t n) {
    char path[64];
    int fd = fuzz_file(p, n, path);
    void *extra = NULL;
    size_t n_extra = 0;
    fuzz_accepted = pf_trainer_restore(t, path, &extra, &n_extra) == PF_OK;
    close(fd);
    pf_release(t->ctx, extra);
    if (fuzz_accepted) return;
    fuzz_check(t->step == 0 && n_extra == 0, "a refused checkpoint moved the trainer");
    for (int i = 0; i < 2; i++)
        for (size_t k = 0; k < pfi_numel(w[i]); k++)
            fuzz_check(pfi_get(w[i], k) == (double)(k + 1), "a refused checkpoint changed a weight");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_memory memory;
    pf_ctx *ctx = fuzz_open(&memory);
    pf_tensor *w[2];
    pf_trainer *t = checkpoint_trainer(ctx, w);
    pfi_buf packed = {0};
    if (size >= 4 && memcmp(data, "\x28\xB5\x2F\xFD", 4) == 0)
        checkpoint_restore_from(t, w, data, size);
    else if (pfi_zst_compress(ctx, data, size, 1, &packed) == PF_OK)
        checkpoint_restore_from(t, w, packed.data, packed.len);
    pfi_buf_free(ctx, &packed);
    pf_trainer_free(t);
    for (int i = 0; i < 2; i++) pf_tensor_free(w[i]);
    fuzz_close(ctx, &memory);
    return 0;
}
