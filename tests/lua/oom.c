/* A host that runs a Lua script with every allocation of Lua failing in turn, once the k-th alone and once all from the
 * k-th on. The script must end with Lua's own message, and closing the state must leave no block of either side.
 * oom SCRIPT [STRIDE]. Built by tests/e2e/test_lua_oom.sh. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lualib.h>

#include "lua/bind/bind.h"

static long count, fail_at, blocks; /* blocks: of the library, through the linker's --wrap */
static bool persistent;
static size_t live; /* bytes of Lua */

void *__real_realloc(void *p, size_t n);
void __real_free(void *p);
void *__wrap_realloc(void *p, size_t n);
void __wrap_free(void *p);

void *__wrap_realloc(void *p, size_t n) {
    void *q = __real_realloc(p, n);
    if (q && !p) blocks++;
    return q;
}

void __wrap_free(void *p) {
    if (p) blocks--;
    __real_free(p);
}

static void *oom_alloc(void *ud, void *p, size_t old, size_t now) {
    (void)ud;
    if (!p) old = 0; /* Lua puts a type there */
    if (now == 0) {
        __real_free(p);
        live -= old;
        return NULL;
    }
    if (now > old && ++count >= fail_at && fail_at && (persistent || count == fail_at)) return NULL;
    void *q = __real_realloc(p, now);
    if (q) live += now - old;
    return q;
}

static int oom_open(lua_State *L) {
    luaL_openlibs(L);
    lpf_install(L, NULL);
    return 0;
}

static int oom_script(lua_State *L) {
    if (luaL_loadfile(L, lua_touserdata(L, 1)) != LUA_OK) return lua_error(L);
    lua_call(L, 0, 0);
    return 0;
}

/* 0: the script survived; 1: it failed as it should; -1: anything else */
static int oom_run(const char *script, long k) {
    long before = blocks;
    fail_at = 0;
    lua_State *L = lua_newstate(oom_alloc, NULL);
    if (!L) return -1;
    lua_pushcfunction(L, oom_open);
    lua_call(L, 0, 0);
    lua_pushcfunction(L, oom_script);
    lua_pushlightuserdata(L, (void *)script);
    count = 0;
    fail_at = k;
    int result = lua_pcall(L, 1, 0, 0) != LUA_OK;
    fail_at = 0;
    const char *text = result ? lua_tostring(L, -1) : "";
    if (result && (!text || !strstr(text, "not enough memory"))) {
        printf("allocation %ld: %s\n", k, text ? text : "no message");
        result = -1;
    }
    lua_close(L);
    if (live == 0 && blocks == before) return result;
    printf("allocation %ld: %zu bytes of Lua and %ld blocks of the library are left\n", k, live, blocks - before);
    return -1;
}

int main(int argc, char **argv) {
    if (argc < 2) return 2;
    long stride = argc > 2 ? atol(argv[2]) : 1;
    if (oom_run(argv[1], 0) != 0) return 1;
    if (oom_run(argv[1], 0) != 0) return 1;
    long n = count;
    for (int mode = 0; mode < 2; mode++) {
        long failed = 0;
        persistent = mode == 1;
        for (long k = 1; k <= n; k += stride) {
            int result = oom_run(argv[1], k);
            if (result < 0) return 1;
            failed += result;
        }
        printf("%s: %ld of %ld runs failed cleanly\n", mode ? "persistent" : "transient", failed,
               (n + stride - 1) / stride);
        if (persistent && failed == 0) return 1;
    }
    return 0;
}
