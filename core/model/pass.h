/* pass: rows of tokens through the model, over a pool of keys and values. Internal. */
#ifndef PFI_PASS_H
#define PFI_PASS_H

#include "kernel/kernel.h"
#include "model/model.h"

/* Keys and values of each layer, cap places, whole pages as pfk_attention_rows reads them; pages are handed out and
 * taken back. Those below used are in use or in free_pages. */
typedef struct pfi_pass {
    pf_model *m;
    pf_ctx *ctx;
    void **k, **v;
    int64_t cap, used;
    pf_dtype compute, kv; /* as in pf_generate_options */
    bool is_long;         /* the sequences turn by the frequencies for long ones */
    const void **order;   /* weights as the last passes read them, NULL behind the last */
    int64_t at, most;     /* of order: the next one, and its room */
    pf_tensor *rounded;   /* the last input of a product in bfloat16, which others may read as well, */
    uint16_t *narrow;     /* as such numbers */
    pfi_ints free_pages;
} pfi_pass;

/* Rows for one pass: token, its position, its place in the pool, and the list of the len places that it sees. */
typedef struct pfi_rows {
    int64_t n;
    const int32_t *token, *position, *place;
    const int32_t *const *list;
    const int64_t *len;
} pfi_rows;

pf_status pfi_pass_open(pfi_pass *p, pf_model *m);
int64_t pfi_pass_pages(int64_t places); /* whole pages, in places */
/* room for need places, whole pages; what is in use stays. err NOMEM */
pf_status pfi_pass_grow(pfi_pass *p, int64_t need);
/* first place of a page. err NOMEM */
pf_status pfi_pass_page(pfi_pass *p, int32_t *page);
void pfi_pass_close(pfi_pass *p);

/* the product of x[rows, in], each row by itself. NULL gives NULL. Owned by caller. */
pf_tensor *pfi_pass_linear(pfi_pass *p, pf_tensor *x, const pfi_linear *l);
/* y[rows, out], the base's product without bias, becomes the adapter's; each row by itself. err NOMEM */
pf_status pfi_pass_adapt(pfi_pass *p, pf_tensor *x, const pfi_lora *l, pf_tensor *y);
/* hidden states [rows, C] after the last norm; fills the pool. Owned by caller. */
pf_tensor *pfi_pass_hidden(pfi_pass *p, const pfi_rows *r);

#endif
