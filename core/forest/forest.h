/* forest: token sequences as a trie. Internal.
 *
 * Nodes are the distinct (prefix, token) pairs of the sequences' input tokens, numbered depth first, so that a run
 * without forks (a branch) is contiguous and the ancestors of a branch precede it. Attention, the transformer and the
 * key/value cache see nothing else: a single sequence is the forest with one branch. */
#ifndef PFI_FOREST_H
#define PFI_FOREST_H

#include "tensor/tensor.h"

struct pf_batch {
    pf_ctx *ctx;
    int64_t sequences, entries, tokens, nodes, branches, longest, shortest; /* inputs of a sequence */
    /* tensors of the forest, int32 */
    pf_tensor *token;    /* [nodes] input ids */
    pf_tensor *position; /* [nodes] depth from 0 */
    pf_tensor *start;    /* [branches + 1] first node of each branch */
    pf_tensor *parent;   /* [branches] branch that this one continues, -1: a root */
    /* tensors of the entries, in the order of the sequences */
    pf_tensor *node;     /* [entries] whose output predicts the entry */
    pf_tensor *target;   /* [entries] */
    pf_tensor *sequence; /* [entries] from 0 */
    pf_tensor *step;     /* [entries] from 1, 0: none */
    pf_tensor *length;   /* [sequences] float: entries of each */
};

/* the nodes from the root to `node`, in order, into path; returns how many. path has room for b->longest. */
int64_t pfi_forest_path(const pf_batch *b, int32_t node, int32_t *path);

/* A batch of some of a batch's sequences: entry e of it is entry from[e] of the whole. */
typedef struct pfi_part {
    pf_batch *batch;
    int64_t *from; /* [batch->entries] */
} pfi_part;

/* b in parts of at most `most` nodes each, or of one sequence that has more: sequences that begin alike together, in
 * the order of their nodes. err NOMEM. *out owned by caller: n parts, freed by pfi_forest_parts_free */
pf_status pfi_forest_parts(const pf_batch *b, int64_t most, pfi_part **out, int64_t *n);
void pfi_forest_parts_free(pf_ctx *ctx, pfi_part *p, int64_t n); /* NULL is fine */

#endif
