/* The further chat templates of a directory: additional_chat_templates/NAME.jinja, read, kept and written unchanged. */
#include <dirent.h>
#include <errno.h>

#include "text/text.h"
#include "text/tokenizer.h"

#define TEMPLATES_DIR "additional_chat_templates"
#define TEMPLATES_END ".jinja"

static int templates_order(const void *a, const void *b) {
    return strcmp(((const pfi_template *)a)->name, ((const pfi_template *)b)->name);
}

/* one more, of a file's name; its text is still to be read */
static pf_status templates_add(pf_tokenizer *tok, const char *file, size_t len) {
    pfi_template *more = pfi_realloc(tok->ctx, tok->templates, (tok->n_templates + 1) * sizeof *more);
    if (!more) return PF_NOMEM;
    tok->templates = more;
    more[tok->n_templates] = (pfi_template){.name = pfi_strndup(tok->ctx, file, len - strlen(TEMPLATES_END))};
    return more[tok->n_templates++].name ? PF_OK : PF_NOMEM;
}

static pf_status templates_list(pf_tokenizer *tok, const char *dir) {
    DIR *d = opendir(dir);
    if (!d) return errno == ENOENT || errno == ENOTDIR ? PF_OK : pfi_fail(tok->ctx, PF_IO, "cannot read %s", dir);
    pf_status s = PF_OK;
    for (struct dirent *e; s == PF_OK && (e = readdir(d));) {
        size_t n = strlen(e->d_name), end = strlen(TEMPLATES_END);
        if (n > end && strcmp(e->d_name + n - end, TEMPLATES_END) == 0) s = templates_add(tok, e->d_name, n);
    }
    closedir(d);
    if (s == PF_OK && tok->n_templates) /* a directory has no order of its own */
        qsort(tok->templates, tok->n_templates, sizeof *tok->templates, templates_order);
    return s;
}

static char *templates_path(pf_ctx *ctx, const char *dir, const char *name) {
    return pfi_format(ctx, "%s/" TEMPLATES_DIR "/%s" TEMPLATES_END, dir, name);
}

static pf_status templates_read_one(pf_tokenizer *tok, const char *dir, pfi_template *t) {
    char *path = templates_path(tok->ctx, dir, t->name);
    if (!path) return PF_NOMEM;
    pf_status s = pfi_file_read(tok->ctx, path, &t->text);
    size_t bad = s == PF_OK ? pfi_utf8_check(t->text.data, t->text.len) : 0;
    if (s == PF_OK && bad < t->text.len)
        s = pfi_fail(tok->ctx, PF_FORMAT, "%s: byte %zu is not valid UTF-8", path, bad + 1);
    pfi_free(tok->ctx, path);
    tok->fingerprint = pfi_hash64(tok->fingerprint, t->text.data, t->text.len);
    return s;
}

pf_status pfi_templates_read(pf_tokenizer *tok, const char *dir) {
    char *path = pfi_file_join(tok->ctx, dir, TEMPLATES_DIR);
    if (!path) return PF_NOMEM;
    pf_status s = templates_list(tok, path);
    pfi_free(tok->ctx, path);
    for (size_t i = 0; i < tok->n_templates && s == PF_OK; i++) s = templates_read_one(tok, dir, &tok->templates[i]);
    return s;
}

pf_status pfi_templates_save(pf_tokenizer *tok, const char *dir) {
    if (tok->n_templates == 0) return PF_OK;
    char *folder = pfi_file_join(tok->ctx, dir, TEMPLATES_DIR);
    pf_status s = folder ? pfi_file_mkdirs(tok->ctx, folder) : PF_NOMEM;
    pfi_free(tok->ctx, folder);
    for (size_t i = 0; i < tok->n_templates && s == PF_OK; i++) {
        const pfi_template *t = &tok->templates[i];
        char *path = templates_path(tok->ctx, dir, t->name);
        s = path ? pfi_file_write_atomic(tok->ctx, path, t->text.data, t->text.len) : PF_NOMEM;
        pfi_free(tok->ctx, path);
    }
    return s;
}

void pfi_templates_free(pf_tokenizer *tok) {
    for (size_t i = 0; i < tok->n_templates; i++) {
        pfi_free(tok->ctx, tok->templates[i].name);
        pfi_buf_free(tok->ctx, &tok->templates[i].text);
    }
    pfi_free(tok->ctx, tok->templates);
}

/* ---- what Lua reads ---- */

const pfi_template *pfi_tokenizer_templates(const pf_tokenizer *tok, size_t *n) {
    *n = tok->n_templates;
    return tok->templates;
}

const pfi_buf *pfi_tokenizer_file(const pf_tokenizer *tok, int which) { return &tok->file[which]; }
