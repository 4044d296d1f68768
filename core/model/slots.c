/* The places of a model's weights, under the names of both file formats. */
#include <math.h>

#include "model/family.h"

static pfi_slot *slot_new(pfi_slots *s) {
    if (s->n == s->cap) {
        int cap = 2 * s->cap + 16;
        pfi_slot *slot = pfi_realloc(s->m->ctx, s->slot, (size_t)cap * sizeof *slot);
        if (!slot) return NULL;
        s->slot = slot;
        s->cap = cap;
    }
    return &s->slot[s->n++];
}

void pfi_slots_at(pfi_slots *s, const char *part, int64_t layer) {
    const char *prefix = pfi_family_names(s->m->family)[s->m->names].prefix;
    if (layer < 0) {
        snprintf(s->at, sizeof s->at, "%s%s", prefix, part);
        s->gguf_at[0] = 0;
        return;
    }
    snprintf(s->at, sizeof s->at, "%s%s.%lld.", prefix, part, (long long)layer);
    snprintf(s->gguf_at, sizeof s->gguf_at, "blk.%lld.", (long long)layer);
}

static pf_status slot_add(pfi_slots *s, pf_tensor **field, const char *name, const char *gguf, const char *what,
                          int64_t rows, int64_t cols) {
    pfi_slot *slot = slot_new(s);
    if (!slot) return PF_NOMEM;
    *slot = (pfi_slot){.field = field, .nd = cols ? 2 : 1, .dim = {rows, cols}, .fill = (double)NAN};
    snprintf(slot->name, sizeof slot->name, "%s%.40s.%.8s", s->at, name, what);
    snprintf(slot->gguf, sizeof slot->gguf, "%s%.20s.%.8s", s->gguf_at, gguf, what);
    return PF_OK;
}

int64_t pfi_slot_place(const pfi_slot *s, bool gguf, int64_t row, int64_t col) {
    const int64_t cols = s->nd > 1 ? s->dim[1] : 1;
    if (!gguf) return s->flags & PFI_TURNED ? col * s->dim[0] + row : row * cols + col;
    if (s->flags & PFI_INTERLEAVED) {
        const int64_t D = s->dim[0] / s->heads, in = row % D;
        row = row - in + in % (D / 2) * 2 + in / (D / 2);
    } else if (s->flags & PFI_PER_HEAD) {
        const int64_t D = s->dim[0] / s->heads / 3, head = row / (3 * D), part = row / D % 3;
        row = (part * s->heads + head) * D + row % D;
    }
    return row * cols + col;
}

pf_status pfi_slot_weight(pfi_slots *s, pf_tensor **field, const char *name, const char *gguf, int64_t rows,
                          int64_t cols) {
    return slot_add(s, field, name, gguf, "weight", rows, cols);
}

pf_status pfi_slot_linear(pfi_slots *s, pfi_linear *l, const char *name, const char *gguf, int64_t out, int64_t in,
                          unsigned flags, int64_t heads) {
    PF_TRY(slot_add(s, &l->w, name, gguf, "weight", out, in));
    s->slot[s->n - 1].flags = flags;
    s->slot[s->n - 1].heads = heads;
    if (!(flags & PFI_BIAS)) return PF_OK;
    PF_TRY(slot_add(s, &l->b, name, gguf, "bias", out, 0));
    s->slot[s->n - 1].flags = flags & ~(unsigned)PFI_TURNED;
    s->slot[s->n - 1].heads = heads;
    s->slot[s->n - 1].fill = 0;
    return PF_OK;
}

pf_status pfi_slot_norm(pfi_slots *s, pfi_norm *n, const char *name, const char *gguf, int64_t channels) {
    const pfi_config *c = &s->m->config;
    PF_TRY(slot_add(s, &n->w, name, gguf, "weight", channels, 0));
    s->slot[s->n - 1].offset = c->norm_offset;
    s->slot[s->n - 1].fill = 1 - c->norm_offset;
    if (!c->centred) return PF_OK;
    PF_TRY(slot_add(s, &n->b, name, gguf, "bias", channels, 0));
    s->slot[s->n - 1].fill = 0;
    return PF_OK;
}

pf_status pfi_slot_head(pfi_slots *s) {
    const pfi_config *c = &s->m->config;
    if (c->tied) return PF_OK;
    PF_TRY(slot_add(s, &s->m->head.w, "", "output", "weight", c->vocab, c->hidden));
    const char *name = pfi_family_names(s->m->family)[s->m->names].head;
    snprintf(s->slot[s->n - 1].name, sizeof s->slot->name, "%s", name);
    return PF_OK;
}

static pf_status slots_attention(pfi_slots *s, const pfi_config *c, pfi_layer *l, unsigned interleaved) {
    const int64_t C = c->hidden, q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim;
    const unsigned bias = c->qkv_bias ? PFI_BIAS : 0;
    if (c->fused) {
        PF_TRY(pfi_slot_linear(s, &l->qkv, "self_attn.qkv_proj", "attn_qkv", q + 2 * kv, C, bias, 0));
    } else {
        PF_TRY(pfi_slot_linear(s, &l->q, "self_attn.q_proj", "attn_q", q, C, bias | interleaved, c->heads));
        PF_TRY(pfi_slot_linear(s, &l->k, "self_attn.k_proj", "attn_k", kv, C, bias | interleaved, c->kv_heads));
        PF_TRY(pfi_slot_linear(s, &l->v, "self_attn.v_proj", "attn_v", kv, C, bias, 0));
    }
    PF_TRY(pfi_slot_linear(s, &l->o, "self_attn.o_proj", "attn_output", C, q, c->o_bias ? PFI_BIAS : 0, 0));
    if (!c->qk_norm) return PF_OK;
    PF_TRY(pfi_slot_norm(s, &l->q_norm, "self_attn.q_norm", "attn_q_norm", c->head_dim));
    return pfi_slot_norm(s, &l->k_norm, "self_attn.k_norm", "attn_k_norm", c->head_dim);
}

static pf_status slots_ffn(pfi_slots *s, const pfi_config *c, pfi_layer *l) {
    const int64_t C = c->hidden, F = c->ffn;
    const unsigned bias = c->ffn_bias ? PFI_BIAS : 0;
    if (c->fused) {
        PF_TRY(pfi_slot_linear(s, &l->gate_up, "mlp.gate_up_proj", "ffn_up", 2 * F, C, bias, 0));
    } else {
        PF_TRY(pfi_slot_linear(s, &l->gate, "mlp.gate_proj", "ffn_gate", F, C, bias, 0));
        PF_TRY(pfi_slot_linear(s, &l->up, "mlp.up_proj", "ffn_up", F, C, bias, 0));
    }
    return pfi_slot_linear(s, &l->down, "mlp.down_proj", "ffn_down", C, F, bias, 0);
}

/* the norm before the feed-forward layer is called after what stands before it, unless there are norms at both ends */
static pf_status slots_layer(pfi_slots *s, const pfi_config *c, pfi_layer *l, unsigned interleaved) {
    const int64_t C = c->hidden;
    PF_TRY(pfi_slot_norm(s, &l->norm_attention, "input_layernorm", "attn_norm", C));
    PF_TRY(slots_attention(s, c, l, interleaved));
    if (c->out_norms) {
        PF_TRY(pfi_slot_norm(s, &l->norm_attention_out, "post_attention_layernorm", "post_attention_norm", C));
        PF_TRY(pfi_slot_norm(s, &l->norm_ffn, "pre_feedforward_layernorm", "ffn_norm", C));
        PF_TRY(pfi_slot_norm(s, &l->norm_ffn_out, "post_feedforward_layernorm", "post_ffw_norm", C));
    } else {
        PF_TRY(pfi_slot_norm(s, &l->norm_ffn, "post_attention_layernorm", "ffn_norm", C));
    }
    return slots_ffn(s, c, l);
}

pf_status pfi_slots_usual(pf_model *m, pfi_slots *s, bool interleaved) {
    const pfi_config *c = &m->config;
    pfi_slots_at(s, "", -1);
    PF_TRY(pfi_slot_weight(s, &m->embedding, "embed_tokens", "token_embd", c->vocab, c->hidden));
    for (int64_t i = 0; i < c->layers; i++) {
        pfi_slots_at(s, "layers", i);
        PF_TRY(slots_layer(s, c, &m->layer[i], interleaved ? PFI_INTERLEAVED : 0));
    }
    pfi_slots_at(s, "", -1);
    PF_TRY(pfi_slot_norm(s, &m->norm, "norm", "output_norm", c->hidden));
    return pfi_slot_head(s);
}

pf_status pfi_slots_straight(pf_model *m, pfi_slots *s) { return pfi_slots_usual(m, s, false); }
