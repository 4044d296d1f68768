/* zstd frames with content checksum. */
#include <zstd.h>

#include "file/file.h"

pf_status pfi_zst_compress(pf_ctx *ctx, const void *p, size_t n, int level, pfi_buf *out) {
    if (level < 0 || level > 19) return pfi_fail(ctx, PF_RANGE, "the zstd level must be 0 to 19, got %d", level);
    PF_TRY(pfi_buf_reserve(ctx, out, ZSTD_compressBound(n)));
    ZSTD_CCtx *z = ZSTD_createCCtx();
    if (!z) return pfi_fail(ctx, PF_NOMEM, "not enough memory for zstd");
    ZSTD_CCtx_setParameter(z, ZSTD_c_compressionLevel, level);
    ZSTD_CCtx_setParameter(z, ZSTD_c_checksumFlag, 1);
    size_t made = ZSTD_compress2(z, out->data + out->len, out->cap - out->len - 1, p, n);
    ZSTD_freeCCtx(z);
    if (ZSTD_isError(made)) return pfi_fail(ctx, PF_NOMEM, "zstd cannot compress: %s", ZSTD_getErrorName(made));
    out->len += made;
    out->data[out->len] = 0;
    return PF_OK;
}

/* ---- as a stream ---- */

struct pfi_zst {
    pf_ctx *ctx;
    ZSTD_CCtx *z;
    pfi_zst_write write;
    void *ud, *out;
    size_t room; /* of out */
};

pf_status pfi_zst_open(pf_ctx *ctx, pfi_zst_write write, void *ud, pfi_zst **out) {
    pfi_zst *z = pfi_calloc(ctx, 1, sizeof *z);
    *out = NULL;
    if (!z) return PF_NOMEM;
    *z = (pfi_zst){.ctx = ctx, .z = ZSTD_createCCtx(), .write = write, .ud = ud, .room = ZSTD_CStreamOutSize()};
    z->out = pfi_alloc(ctx, z->room);
    if (z->z && z->out) {
        ZSTD_CCtx_setParameter(z->z, ZSTD_c_checksumFlag, 1);
        *out = z;
        return PF_OK;
    }
    pfi_zst_close(z);
    return pfi_fail(ctx, PF_NOMEM, "not enough memory for zstd");
}

pf_status pfi_zst_add(pfi_zst *z, const void *p, size_t n, bool last) {
    ZSTD_inBuffer in = {p, n, 0};
    for (;;) {
        ZSTD_outBuffer o = {z->out, z->room, 0};
        const size_t left = ZSTD_compressStream2(z->z, &o, &in, last ? ZSTD_e_end : ZSTD_e_continue);
        if (ZSTD_isError(left)) return pfi_fail(z->ctx, PF_NOMEM, "zstd cannot compress: %s", ZSTD_getErrorName(left));
        if (o.pos) PF_TRY(z->write(z->ud, z->out, o.pos));
        if (last ? left == 0 : in.pos == in.size) return PF_OK;
    }
}

void pfi_zst_close(pfi_zst *z) {
    if (!z) return;
    ZSTD_freeCCtx(z->z);
    pfi_free(z->ctx, z->out);
    pfi_free(z->ctx, z);
}

/* ---- reading ---- */

/* the frame header's third lowest descriptor bit tells of a checksum (RFC 8878, 3.1.1.1.1) */
static bool zst_has_checksum(const unsigned char *p, size_t n) {
    static const unsigned char magic[4] = {0x28, 0xB5, 0x2F, 0xFD};
    return n >= 5 && memcmp(p, magic, 4) == 0 && (p[4] & 4);
}

static pf_status zst_frames(pf_ctx *ctx, ZSTD_DCtx *z, const unsigned char *p, size_t n, const char *what,
                            pfi_buf *out) {
    ZSTD_inBuffer in = {p, n, 0};
    size_t left = 0;
    do {
        if (left == 0 && !zst_has_checksum(p + in.pos, n - in.pos))
            return pfi_fail(ctx, PF_FORMAT, "%s is damaged: no zstd frame with a checksum at byte %zu", what, in.pos);
        PF_TRY(pfi_buf_reserve(ctx, out, PFI_MAX(out->len / 2, ZSTD_DStreamOutSize())));
        ZSTD_outBuffer o = {out->data + out->len, out->cap - out->len - 1, 0};
        size_t before = in.pos;
        left = ZSTD_decompressStream(z, &o, &in);
        if (ZSTD_isError(left))
            return pfi_fail(ctx, PF_FORMAT, "%s is damaged: zstd says \"%s\" near byte %zu", what,
                            ZSTD_getErrorName(left), in.pos);
        out->len += o.pos;
        if (left && in.pos == before && o.pos == 0)
            return pfi_fail(ctx, PF_FORMAT, "%s is damaged: the zstd frame is cut short at byte %zu", what, n);
    } while (left || in.pos < n);
    out->data[out->len] = 0;
    return PF_OK;
}

pf_status pfi_zst_decompress(pf_ctx *ctx, const void *p, size_t n, const char *what, pfi_buf *out) {
    ZSTD_DCtx *z = ZSTD_createDCtx();
    if (!z) return pfi_fail(ctx, PF_NOMEM, "not enough memory for zstd");
    pf_status s = zst_frames(ctx, z, p, n, what, out);
    ZSTD_freeDCtx(z);
    return s;
}
