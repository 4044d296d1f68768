/* From the plain arrays of a vocabulary to the text of a tokenizer.json. Internal. */
#ifndef PFI_SOURCE_H
#define PFI_SOURCE_H

#include "text/text.h"

#define PFI_PRE_SPLITS 6

/* a pre-tokenizer of byte-level BPE: splits one after another, then digits, then the words of GPT-2, then bytes */
typedef struct pfi_pre {
    const char *name;
    const char *split[PFI_PRE_SPLITS]; /* regular expressions whose matches stand alone; NULL ends the list */
    bool digits;                       /* every digit alone */
    bool words;                        /* GPT-2's pattern */
    bool nfc, ignore_merges, bos;      /* what else the name says; bos: unless the file says otherwise */
} pfi_pre;
const pfi_pre *pfi_pre_find(const char *name); /* NULL if the name is not known */
/* the first that does the same, whatever its name and bos; NULL if there is none */
const pfi_pre *pfi_pre_match(const pfi_pre *as);

/* append the merges that the scores of a SentencePiece vocabulary stand for, as a JSON array of pairs: every way to cut
 * a normal token into two normal ones, best score first. err FORMAT (a score that is no number), NOMEM */
pf_status pfi_source_merges(pf_ctx *ctx, const char *name, const pfi_vocab_source *v, const pfi_vocab *vocab,
                            pfi_buf *out);

#endif
