/* tokenizer: Hugging Face tokenizer.json with BPE models; what pofit.h does not show. Internal.
 *
 * A directory gives, besides tokenizer.json, the bos, eos and pad tokens, the add_bos_token and add_eos_token flags and
 * the chat template (tokenizer_config.json, special_tokens_map.json, chat_template.jinja; all optional). */
#ifndef PFI_TOKENIZER_H
#define PFI_TOKENIZER_H

#include "file/gguf.h"

enum {
    PFI_TOK_SPECIAL = 1, /* add what the post-processor adds */
    PFI_TOK_LITERAL = 2  /* special tokens written in the text are ordinary text */
};
pf_status pfi_tokenizer_encode(pf_tokenizer *tok, const char *text, size_t len, int flags, int32_t **ids, size_t *n);
/* append the bytes of one token as they stand in the middle of a text, without the repair of broken UTF-8 and without
 * the stripping of the text's first space. Special tokens: as written. err RANGE, NOMEM */
pf_status pfi_tokenizer_piece(pf_tokenizer *tok, int32_t id, pfi_buf *out);
int32_t pfi_tokenizer_pad(const pf_tokenizer *tok); /* -1 if there is none */
bool pfi_tokenizer_special(const pf_tokenizer *tok, int32_t id);
const char *pfi_tokenizer_template(const pf_tokenizer *tok); /* chat template, NULL if there is none */

/* a chat template beside the main one: additional_chat_templates/NAME.jinja */
typedef struct pfi_template {
    char *name;
    pfi_buf text;
} pfi_template;
const pfi_template *pfi_tokenizer_templates(const pf_tokenizer *tok, size_t *n); /* borrowed */
enum { PFI_TOK_FILE_CONFIG = 1, PFI_TOK_FILE_MAP = 2 }; /* tokenizer_config.json, special_tokens_map.json */
const pfi_buf *pfi_tokenizer_file(const pf_tokenizer *tok, int which); /* borrowed; data NULL if it was not there */

enum {
    PFI_VOCAB_NORMAL = 1,
    PFI_VOCAB_UNKNOWN,
    PFI_VOCAB_CONTROL,
    PFI_VOCAB_USER,
    PFI_VOCAB_UNUSED,
    PFI_VOCAB_BYTE
}; /* the types of GGUF */

/* a vocabulary as a GGUF file holds it, in plain arrays; all borrowed, NULL what the file does not have */
typedef struct pfi_vocab_source {
    const char *model;        /* tokenizer.ggml.model: "gpt2", "llama" or "gemma" */
    const char *pre;          /* tokenizer.ggml.pre, of "gpt2"; NULL: "default" */
    const char *const *token; /* [n], not necessarily 0-terminated; the id is the place */
    const size_t *token_len;  /* [n] bytes */
    const float *score;       /* [n], of "llama" and "gemma" */
    const int32_t *type;      /* [n] PFI_VOCAB_...; NULL: all normal */
    size_t n;
    const char *const *merge; /* [n_merges] "a b", of "gpt2" */
    const size_t *merge_len;
    size_t n_merges;
    int32_t bos, eos, unk, pad;             /* ids; -1: not given */
    int add_bos, add_eos, add_space_prefix; /* 0, 1; -1: not given, the model decides */
    const char *chat_template;              /* 0-terminated; NULL if there is none */
} pfi_vocab_source;
/* the tokenizer of such a vocabulary. It is written as a tokenizer.json (and tokenizer_config.json), which is then
 * loaded as any other: pfi_tokenizer_save gives files that Hugging Face loads with the same ids. name: the file's, for
 * messages. err FORMAT, UNSUPPORTED (model or pre, by name), NOMEM. *out owned by caller */
pf_status pfi_tokenizer_from_vocab(pf_ctx *ctx, const char *name, const pfi_vocab_source *v, pf_tokenizer **out);
/* the tokenizer that a GGUF file holds. err also FORMAT (a key, by name) */
pf_status pfi_tokenizer_from_gguf(pf_ctx *ctx, const pfi_gguf *g, pf_tokenizer **out);
/* write a tokenizer as the vocabulary of a GGUF file, n tokens (those that it does not have are unused): all keys but
 * the ids of tokens that end a text. err UNSUPPORTED (what GGUF cannot say), RANGE (it has more tokens), and what
 * writing gives */
pf_status pfi_tokenizer_put_gguf(const pf_tokenizer *tok, size_t n, pfi_gguf_writer *w);
uint64_t pfi_tokenizer_fingerprint(const pf_tokenizer *tok); /* over the bytes of the files it came from */
/* write the files it came from, unchanged, into an existing directory. err IO, NOMEM */
pf_status pfi_tokenizer_save(pf_tokenizer *tok, const char *dir);

#endif
