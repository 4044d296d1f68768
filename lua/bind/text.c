/* Tokenizers. */
#include <string.h>

#include "bind.h"
#include "text/tokenizer.h"

typedef struct text_box {
    pf_tokenizer *tok;
} text_box;

static int text_gc(lua_State *L) {
    text_box *b = luaL_checkudata(L, 1, LPF_TOKENIZER);
    pf_tokenizer_free(b->tok);
    b->tok = NULL;
    return 0;
}

static text_box *text_push_box(lua_State *L) {
    text_box *b = lua_newuserdatauv(L, sizeof *b, 0);
    b->tok = NULL;
    luaL_setmetatable(L, LPF_TOKENIZER);
    return b;
}

pf_tokenizer *lpf_check_tokenizer(lua_State *L, int idx) {
    text_box *b = luaL_checkudata(L, idx, LPF_TOKENIZER);
    luaL_argcheck(L, b->tok, idx, "tokenizer was closed");
    return b->tok;
}

void lpf_push_tokenizer(lua_State *L, pf_tokenizer *tok) {
    if (!tok) {
        lua_pushnil(L);
        return;
    }
    text_push_box(L)->tok = pf_tokenizer_retain(tok);
}

static int text_load(lua_State *L) {
    const char *path = luaL_checkstring(L, 1);
    text_box *b = text_push_box(L);
    lpf_check(L, pf_tokenizer_load(lpf_ctx(L), path, &b->tok));
    return 1;
}

/* memory that the library gave and pf_release takes back, owned by a box while Lua copies it */
typedef struct text_given {
    pf_ctx *ctx;
    void *p;
} text_given;

static int text_given_gc(lua_State *L) {
    text_given *g = lua_touserdata(L, 1);
    pf_release(g->ctx, g->p);
    g->p = NULL;
    return 0;
}

static text_given *text_push_given(lua_State *L) {
    text_given *g = lua_newuserdatauv(L, sizeof *g, 0);
    *g = (text_given){lpf_ctx(L), NULL};
    lpf_push_class(L, "pofit.given", text_given_gc);
    lua_setmetatable(L, -2);
    return g;
}

static bool text_flag(lua_State *L, int idx, const char *where, const char *name, bool value) {
    const char *const names[] = {name, NULL};
    lpf_check_options(L, idx, where, names);
    if (lua_istable(L, idx) && lua_getfield(L, idx, name) != LUA_TNIL) value = lua_toboolean(L, -1);
    return value;
}

/* encode(text[, {special=true}]) -> list of ids; special: what the tokenizer adds (BOS) */
static int text_encode(lua_State *L) {
    pf_tokenizer *tok = lpf_check_tokenizer(L, 1);
    size_t len, n = 0;
    if (lua_type(L, 2) != LUA_TSTRING) return lpf_error(L, "encode: expected a text, got %s", lpf_typename(L, 2));
    const char *text = lua_tolstring(L, 2, &len);
    bool special = text_flag(L, 3, "encode", "special", true);
    text_given *g = text_push_given(L);
    int32_t *ids = NULL;
    pf_status s = pf_tokenizer_encode(tok, text, len, special, &ids, &n);
    g->p = ids;
    lpf_check(L, s);
    lua_createtable(L, (int)n, 0);
    for (size_t i = 0; i < n; i++) {
        lua_pushinteger(L, ids[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

/* decode(ids[, {skip_special=false}]) -> text */
static int text_decode(lua_State *L) {
    pf_tokenizer *tok = lpf_check_tokenizer(L, 1);
    bool skip = text_flag(L, 3, "decode", "skip_special", false);
    size_t n, len = 0;
    int32_t *ids = lpf_push_ids(L, 2, "decode", &n);
    text_given *g = text_push_given(L);
    char *text = NULL;
    pf_status s = pf_tokenizer_decode(tok, ids, n, skip, &text, &len);
    g->p = text;
    lpf_check(L, s);
    lua_pushlstring(L, text, len);
    return 1;
}

static void text_push_id(lua_State *L, int32_t id) {
    if (id < 0)
        lua_pushnil(L);
    else
        lua_pushinteger(L, id);
}

/* id(token) -> its id, nil if there is none */
static int text_id(lua_State *L) {
    text_push_id(L, pf_tokenizer_id(lpf_check_tokenizer(L, 1), luaL_checkstring(L, 2)));
    return 1;
}

/* token(id) -> as the vocabulary writes it, nil if there is none */
static int text_token(lua_State *L) {
    lua_Integer id = luaL_checkinteger(L, 2);
    lua_pushstring(L, pf_tokenizer_token(lpf_check_tokenizer(L, 1), id < 0 || id > INT32_MAX ? -1 : (int32_t)id));
    return 1;
}

static void text_set_text(lua_State *L, const char *key, const char *p, size_t n) {
    if (!p) return;
    lua_pushlstring(L, p, n);
    lua_setfield(L, -2, key);
}

/* what chat templates need of the tokenizer's files: {template=, config=, map=, named={name = text}} */
static int text_push_chat(lua_State *L, pf_tokenizer *tok) {
    size_t n = 0;
    const char *main = pfi_tokenizer_template(tok);
    const pfi_buf *config = pfi_tokenizer_file(tok, PFI_TOK_FILE_CONFIG);
    const pfi_buf *map = pfi_tokenizer_file(tok, PFI_TOK_FILE_MAP);
    const pfi_template *t = pfi_tokenizer_templates(tok, &n);
    lua_newtable(L);
    text_set_text(L, "template", main, main ? strlen(main) : 0);
    text_set_text(L, "config", config->data, config->len);
    text_set_text(L, "map", map->data, map->len);
    lua_newtable(L);
    for (size_t i = 0; i < n; i++) text_set_text(L, t[i].name, t[i].text.data, t[i].text.len);
    lua_setfield(L, -2, "named");
    return 1;
}

static int text_property(lua_State *L) {
    pf_tokenizer *tok = lpf_check_tokenizer(L, 1);
    const char *name = lua_tostring(L, 2);
    if (strcmp(name, "bos") == 0)
        text_push_id(L, pf_tokenizer_bos(tok));
    else if (strcmp(name, "eos") == 0)
        text_push_id(L, pf_tokenizer_eos(tok));
    else if (strcmp(name, "size") == 0)
        lua_pushinteger(L, (lua_Integer)pf_tokenizer_size(tok));
    else if (strcmp(name, "fingerprint") == 0)
        lua_pushinteger(L, (lua_Integer)pfi_tokenizer_fingerprint(tok));
    else if (strcmp(name, "chat_files") == 0)
        return text_push_chat(L, tok);
    else
        return 0;
    return 1;
}

static const luaL_Reg text_methods[] = {
    {"encode", text_encode}, {"decode", text_decode}, {"id", text_id}, {"token", text_token}, {NULL, NULL}};

void lpf_open_text(lua_State *L) {
    lpf_open_class(L, LPF_TOKENIZER, "tokenizer", text_gc, text_methods, text_property);
    lua_pushcfunction(L, text_load);
    lua_setfield(L, -2, "tokenizer_load");
}
