/* safetensors: header and data from memory, every tensor looked at. */
#include "file/safetensors.h"
#include "fuzz.h"
#include "tensor/tensor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_memory memory;
    pf_ctx *ctx = fuzz_open(&memory);
    pfi_st *st = NULL;
    fuzz_accepted = pfi_st_parse(ctx, data, size, "input", NULL, NULL, &st) == PF_OK;
    for (size_t i = 0; st && i < pfi_st_count(st); i++) {
        const pfi_st_tensor *at = pfi_st_at(st, i);
        fuzz_check(pfi_st_find(st, at->name) != NULL, "a tensor is not found by its name");
        pf_tensor *t = pfi_st_tensor_of(st, at);
        if (t && pfi_numel(t)) (void)(pfi_get(t, 0) + pfi_get(t, pfi_numel(t) - 1));
        pf_tensor_free(t);
    }
    pfi_st_release(st);
    fuzz_close(ctx, &memory);
    return 0;
}
