/* text: the parts of a tokenizer. A text travels as a list of pieces through stages: added tokens are cut out, the
 * normalizers rewrite, the pre-tokenizers cut, BPE turns what is left into ids. Decoders run the other way. Internal.
 */
#ifndef PFI_TEXT_H
#define PFI_TEXT_H

#include "file/file.h"
#include "file/json.h"
#include "text/tokenizer.h"

#define PFI_TEXT_MAX_ID (1 << 24)

/* ---- pieces ---- */

typedef struct pfi_piece {
    size_t end; /* in the text; it begins where the one before ends */
    int32_t id; /* >= 0: a token already, passed on as it is */
    bool first; /* stands at the start of the original text */
} pfi_piece;

typedef struct pfi_pieces {
    pfi_buf text;
    pfi_piece *p;
    size_t n, cap;
} pfi_pieces;

/* end a piece here: all text added since the piece before; without text and without id nothing is added */
pf_status pfi_pieces_end(pf_ctx *ctx, pfi_pieces *v, int32_t id, bool first);
pf_status pfi_pieces_add(pf_ctx *ctx, pfi_pieces *v, const char *s, size_t n, int32_t id, bool first);
void pfi_pieces_clear(pfi_pieces *v);
void pfi_pieces_free(pf_ctx *ctx, pfi_pieces *v);
static inline size_t pfi_piece_start(const pfi_pieces *v, size_t i) { return i ? v->p[i - 1].end : 0; }

/* ---- patterns: a literal string, or a regular expression run by PCRE2 ---- */

typedef struct pfi_pattern {
    char *literal; /* NULL: a regular expression */
    size_t len;
    struct pcre2_real_code_8 *re;
    struct pcre2_real_match_data_8 *place; /* where a match is noted */
    struct pcre2_real_match_context_8 *limit;
} pfi_pattern;

pf_status pfi_pattern_regex(pf_ctx *ctx, const char *text, const char *what, pfi_pattern *out);
/* obj["pattern"]: {"String": s} or {"Regex": s} */
pf_status pfi_pattern_parse(pf_ctx *ctx, const json_t *obj, const char *what, pfi_pattern *out);
bool pfi_pattern_matches_nothing(const pfi_pattern *p); /* can a match be empty? */
void pfi_pattern_free(pf_ctx *ctx, pfi_pattern *p);
/* next match at or after from, never empty; *found says whether there is one. err RANGE if PCRE2 gives up */
pf_status pfi_pattern_next(pf_ctx *ctx, const pfi_pattern *p, const char *s, size_t n, size_t from, size_t *start,
                           size_t *end, bool *found);

/* ---- characters ---- */

bool pfi_char_space(int32_t c);    /* White_Space */
bool pfi_char_numeric(int32_t c);  /* Nd, Nl, No */
bool pfi_char_word(int32_t c);     /* letter, mark, digit, connector: \w */
bool pfi_char_mark(int32_t c);     /* Mn, Mc, Me */
bool pfi_char_unknown(int32_t c);  /* to the normalizers of the reference */
int32_t pfi_char_older(int32_t c); /* one of the same class that PCRE2 and utf8proc know */
/* *out: s with such characters, for matching; s itself if it has none that are newer, else in own, which the caller
 * frees in any case. Every character keeps its place. */
pf_status pfi_text_older(pf_ctx *ctx, const char *s, size_t n, pfi_buf *own, const char **out);
/* the byte-level alphabet: every byte has a printable stand-in */
int32_t pfi_byte_char(unsigned char b);
int pfi_char_byte(int32_t c); /* -1: stands for no byte */

/* ---- stages ---- */

typedef struct pfi_stage {
    int kind; /* of the list it is in */
    pfi_pattern pattern;
    char *text; /* what is prepended, put in place, or stripped */
    size_t len;
    int mode;  /* behaviour of a split, scheme of a metaspace, start of a strip */
    int stop;  /* of a strip */
    bool a, b; /* left and right, invert, individual, prefix space and regex, split */
} pfi_stage;

typedef struct pfi_stages {
    pfi_stage *s;
    int n;
} pfi_stages;

typedef pf_status (*pfi_stage_parse)(pf_ctx *ctx, const json_t *obj, const char *what, pfi_stage *out);
typedef struct pfi_stage_type {
    const char *name;
    int kind;
    pfi_stage_parse parse; /* NULL: no further keys */
} pfi_stage_type;
/* obj: one component or a Sequence of them (its list under the key list), flattened; null gives none.
 * err UNSUPPORTED with the type's name */
pf_status pfi_stages_parse(pf_ctx *ctx, const json_t *obj, const char *what, const char *list,
                           const pfi_stage_type *types, int n_types, pfi_stages *out);
void pfi_stages_free(pf_ctx *ctx, pfi_stages *v);
pf_status pfi_stage_text(pf_ctx *ctx, const json_t *obj, const char *key, const char *what, pfi_stage *out);
/* append s with every match of the pattern replaced by the stage's text */
pf_status pfi_stage_replace(pf_ctx *ctx, const pfi_stage *st, const char *s, size_t n, pfi_buf *out);

pf_status pfi_normalizers_parse(pf_ctx *ctx, const json_t *obj, const char *what, pfi_stages *out);
pf_status pfi_normalize(pf_ctx *ctx, const pfi_stage *st, const char *s, size_t n, pfi_buf *out);
pf_status pfi_pretokenizers_parse(pf_ctx *ctx, const json_t *obj, const char *what, pfi_stages *out);
pf_status pfi_pretokenize(pf_ctx *ctx, const pfi_stage *st, const char *s, size_t n, bool first, pfi_pieces *out);
pf_status pfi_decoders_parse(pf_ctx *ctx, const json_t *obj, const char *what, pfi_stages *out);
/* the whole list through one stage; ids in the pieces mark added tokens */
pf_status pfi_decode_stage(pf_ctx *ctx, const pfi_stage *st, const pfi_pieces *in, pfi_pieces *out);
/* one token's bytes through all stages that act on a token alone */
pf_status pfi_decode_piece(pf_ctx *ctx, const pfi_stages *st, const char *s, size_t n, bool added, pfi_buf *out);

/* ---- vocabulary ---- */

typedef struct pfi_word {
    const char *text; /* 0-terminated, in the arena; NULL: no token has this id */
    uint32_t len;
    int32_t added; /* place among the added tokens, from 1; -1: one of them that is never found; 0: none of them */
    bool model;    /* in the model's own vocabulary, not only an added token */
    bool special;
} pfi_word;

typedef struct pfi_vocab {
    pfi_word *word;    /* by id */
    size_t n, n_model; /* ids, and tokens of the model: the others were added */
    int32_t *slot;     /* open addressing: ids by text, -1 empty */
    size_t mask;
    char *arena;
    size_t used;
} pfi_vocab;

/* room for words tokens with ids below ids and bytes of text in all (final zeros included) */
pf_status pfi_vocab_init(pf_ctx *ctx, pfi_vocab *v, size_t words, size_t ids, size_t bytes);
pf_status pfi_vocab_add(pf_ctx *ctx, pfi_vocab *v, const char *text, size_t len, int32_t id, const char *what);
int32_t pfi_vocab_find(const pfi_vocab *v, const char *text, size_t len); /* -1 if there is none */
void pfi_vocab_free(pf_ctx *ctx, pfi_vocab *v);

/* ---- BPE ---- */

typedef struct pfi_merge {
    int32_t a, b; /* a < 0: empty slot */
    int32_t rank, made;
} pfi_merge;

typedef struct pfi_bpe {
    pfi_vocab vocab;
    pfi_merge *merge;
    size_t mask;
    int32_t unk; /* -1: characters without a token are dropped */
    bool fuse_unk, byte_fallback, ignore_merges;
    bool cut;               /* no token reaches beyond the end of a word into the "▁" of the next one */
    pfi_buf prefix, suffix; /* continuing_subword_prefix, end_of_word_suffix; usually empty */
    int32_t byte[256];      /* <0x00> ... */
    struct bpe_scratch *scratch;
} pfi_bpe;

/* added: the added_tokens array, whose tokens join the vocabulary */
pf_status pfi_bpe_parse(pf_ctx *ctx, const json_t *model, const json_t *added, const char *what, pfi_bpe *out);
pf_status pfi_bpe_prepare(pf_ctx *ctx, pfi_bpe *m);
const pfi_merge *pfi_bpe_merge(const pfi_bpe *m, int32_t a, int32_t b); /* NULL: these two do not merge */
pf_status pfi_bpe_word(pf_ctx *ctx, pfi_bpe *m, const char *s, size_t n, pfi_ints *ids);
uint64_t pfi_bpe_steps(const pfi_bpe *m); /* moves in the heap of candidates so far */
void pfi_bpe_free(pf_ctx *ctx, pfi_bpe *m);

/* ---- added tokens ---- */

typedef struct pfi_added {
    int32_t id;
    const char *text; /* in the vocabulary's arena */
    char *match;      /* what it is found by: the text, normalised if normalized; owned */
    size_t len;
    bool single_word, lstrip, rstrip, normalized, special;
} pfi_added;

typedef struct pfi_added_set {
    pfi_added *t; /* sorted by match; raw ones before normalized ones */
    size_t n;
    size_t bucket[2][257];
} pfi_added_set;

pf_status pfi_added_parse(pf_ctx *ctx, const json_t *list, const char *what, const pfi_stages *normalizers,
                          pfi_vocab *vocab, pfi_added_set *out);
/* cut the added tokens out of a text: those found in the raw text, or those found in normalised text */
pf_status pfi_added_split(pf_ctx *ctx, const pfi_added_set *v, bool normalized, bool literal, const char *s, size_t n,
                          bool first, pfi_pieces *out);
void pfi_added_free(pf_ctx *ctx, pfi_added_set *v);

/* ---- the whole ---- */

#define PFI_TOK_FILES 4

struct pfi_template; /* tokenizer.h */

struct pf_tokenizer {
    pf_ctx *ctx;
    long refs;
    pfi_stages normalizers, pretokenizers, decoders;
    bool has_decoder;
    pfi_bpe bpe;
    pfi_added_set added;
    pfi_ints before, after; /* what the post-processor adds */
    int32_t bos, eos, pad;
    char *chat;
    pfi_buf file[PFI_TOK_FILES];    /* data NULL: was not there */
    struct pfi_template *templates; /* the further ones, by name */
    size_t n_templates;
    uint64_t fingerprint;
};

/* the further chat templates of a directory, if it has any. err IO, NOMEM, FORMAT (not UTF-8) */
pf_status pfi_templates_read(pf_tokenizer *tok, const char *dir);
pf_status pfi_templates_save(pf_tokenizer *tok, const char *dir);
void pfi_templates_free(pf_tokenizer *tok);
/* from the texts of its files, which are taken over in any case (data NULL: not there). path: the directory they are in
 * (dir), or what stands for tokenizer.json in messages. *out owned by caller */
pf_status pfi_tokenizer_from_files(pf_ctx *ctx, const char *path, bool dir, pfi_buf file[PFI_TOK_FILES],
                                   pf_tokenizer **out);
pf_status pfi_post_parse(pf_ctx *ctx, const json_t *obj, const char *what, pf_tokenizer *tok);

#endif
