/* The Lua binding: what its files share. Functions whose names begin with lpf_check, lpf_push, lpf_raise or lpf_error
 * may raise; nothing that is not yet owned by a box may be held while they are called. */
#ifndef LPF_BIND_H
#define LPF_BIND_H

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>

#include "pofit.h"

/* Lua files of the library carry this chunk name in front: errors point past them, at the user's own line. */
#define LPF_CHUNK "@lua/pofit/"

#define LPF_TENSOR    "pofit.tensor"
#define LPF_TOKENIZER "pofit.tokenizer"
#define LPF_MODEL     "pofit.model"
#define LPF_BATCH     "pofit.batch"
#define LPF_TRAINER   "pofit.trainer"
#define LPF_PROFILE   "pofit.profile"

/* ---- the state's context and errors (core.c) ---- */

pf_ctx *lpf_ctx(lua_State *L); /* the context of this Lua state, opened with the library */
/* push "file:line: " of the innermost function that is not the library's own, or "" */
void lpf_push_where(lua_State *L);
/* raise a message at the user's line: what a script did wrong */
int lpf_error(lua_State *L, const char *fmt, ...);
/* raise a message without a place in the script: what is wrong with a file, its contents or an option */
int lpf_refuse(lua_State *L, const char *fmt, ...);
/* raise the last failure of the context, as one or the other; out of memory as Lua says it */
int lpf_raise(lua_State *L);
void lpf_check(lua_State *L, pf_status s); /* raises unless PF_OK */
/* raise: there is no "wrong" in "where"; with the nearest of the string keys of the table at idx */
int lpf_error_unknown(lua_State *L, const char *where, const char *wrong, int idx);
/* the table of options at idx (or nothing): unknown keys raise; names ends with NULL */
void lpf_check_options(lua_State *L, int idx, const char *where, const char *const *names);
/* run Lua's collector when the context's memory has grown well beyond what the last run left */
void lpf_push_pressure(lua_State *L);
const char *lpf_typename(lua_State *L, int idx); /* "a string", "a tensor", "nothing" */
/* new class of userdata: registry metatable with __gc, __close, __name; leaves the metatable on the stack */
void lpf_push_class(lua_State *L, const char *name, lua_CFunction gc);

/* A class whose objects have methods (kept as core.class[key], where Lua files add to them) and properties: property
 * gets (object, name) and pushes a value, or returns 0 if it has none of that name. The table "core" is on top. */
void lpf_open_class(lua_State *L, const char *name, const char *key, lua_CFunction gc, const luaL_Reg *methods,
                    lua_CFunction property);

/* ---- tensors (tensor.c, create.c) ---- */

/* positions: an integer tensor of positions, held from 0 and shown to Lua from 1 */
typedef struct lpf_tensor {
    pf_tensor *t;
    bool positions;
} lpf_tensor;

lpf_tensor *lpf_push_tensor(lua_State *L);          /* an empty box: fill it, then lpf_filled */
int lpf_filled(lua_State *L, lpf_tensor *b);        /* raises if the box is empty; returns 1 */
lpf_tensor *lpf_test_tensor(lua_State *L, int idx); /* NULL if it is something else */
lpf_tensor *lpf_check_tensor(lua_State *L, int idx);
bool lpf_is_real(const pf_tensor *t); /* float32 or float64 */
/* push a tensor made of a number, a boolean or a nested table; shift is added to every value */
lpf_tensor *lpf_push_values(lua_State *L, int idx, const char *what, pf_dtype dtype, double shift);
/* sizes from a list at idx, or from numbers at idx and after it: raises on anything else */
int lpf_check_shape(lua_State *L, int idx, const char *what, int64_t *dim);
/* push a block of token ids from a list or an int32 tensor; borrowed by the stack slot it leaves */
int32_t *lpf_push_ids(lua_State *L, int idx, const char *what, size_t *n);
pf_dtype lpf_check_dtype(lua_State *L, const char *name);

/* ---- sequences of tokens (batch.c) ---- */

/* push n sequences from a list of lists of ids, or of {ids=, scored_from=, score=, step=, target=}; the block and all
 * that it points to stay on the stack, as one value */
pf_sequence *lpf_push_sequences(lua_State *L, int idx, const char *what, size_t *n);
pf_batch *lpf_check_batch(lua_State *L, int idx); /* what pf.batch returned, or its handle */
pf_model *lpf_check_model(lua_State *L, int idx);
pf_tokenizer *lpf_check_tokenizer(lua_State *L, int idx);
void lpf_push_tokenizer(lua_State *L, pf_tokenizer *tok); /* borrowed: the box gets an owner of its own; NULL: nil */
/* options by name from the table at idx (or nothing): the present value, or the default */
double lpf_check_number(lua_State *L, int idx, const char *where, const char *name, double value);
int64_t lpf_check_integer(lua_State *L, int idx, const char *where, const char *name, int64_t value);

/* ---- operations (op.c) ---- */

int lpf_row(lua_State *L, lpf_tensor *x, lua_Integer i); /* x[i] */

/* ---- the library's tables: each adds its functions to the table on top of the stack ---- */

void lpf_open_tensor(lua_State *L);
void lpf_open_create(lua_State *L);
void lpf_open_op(lua_State *L);
void lpf_open_grad(lua_State *L);
void lpf_open_text(lua_State *L);
void lpf_open_model(lua_State *L);
void lpf_open_batch(lua_State *L);
void lpf_open_generate(lua_State *L);
void lpf_open_train(lua_State *L);
void lpf_open_profile(lua_State *L);
void lpf_open_weights(lua_State *L);
PF_API int luaopen_pofit(lua_State *L);
PF_API int luaopen_pofit_core(lua_State *L);
PF_API int luaopen_pofit_sys(lua_State *L);
PF_API int luaopen_pofit_json(lua_State *L);

/* ---- loading (load.c) ---- */

/* make require find "pofit" and its modules: in dir if it is not NULL, else among the embedded files */
void lpf_install(lua_State *L, const char *dir);
int lpf_modules(lua_State *L); /* core.modules() */
int lpf_source(lua_State *L);  /* core.source(module) */

/* Ctrl-C as the program sees it (main.c), reached through the registry: NULL where another program hosts Lua. */
#define LPF_INTERRUPT "pofit.interrupt"
typedef struct lpf_interrupt {
    volatile int asked;   /* set by the signal */
    volatile int poll;    /* the script looks for itself: do not raise */
    pf_ctx *volatile ctx; /* what pf_cancel stops; NULL until the library is used */
    void (*arm)(void);    /* forget what was asked and listen again: a second Ctrl-C would end the program */
} lpf_interrupt;

#endif
