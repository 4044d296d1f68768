/* The library's Lua files as bytes; the build writes the table. */
#ifndef LPF_EMBED_H
#define LPF_EMBED_H

#include <stddef.h>

typedef struct {
    const char *module, *path; /* "pofit.stats", "lua/pofit/stats.lua" */
    const unsigned char *bytes;
    size_t n;
} lpf_embedded;

extern const lpf_embedded lpf_embedded_files[]; /* ends with a NULL module */

#endif
