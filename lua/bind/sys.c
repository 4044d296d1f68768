/* What the Lua files need of the system: files, terminal, clock, interruption, random numbers. Failures are raised. */
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>

#include "bind.h"
#include "file/file.h"

/* ---- a buffer that Lua owns ---- */

typedef struct sys_bytes {
    pf_ctx *ctx;
    pfi_buf buf;
} sys_bytes;

static int sys_bytes_gc(lua_State *L) {
    sys_bytes *b = lua_touserdata(L, 1);
    pfi_buf_free(b->ctx, &b->buf);
    return 0;
}

static sys_bytes *sys_push_bytes(lua_State *L) {
    sys_bytes *b = lua_newuserdatauv(L, sizeof *b, 0);
    *b = (sys_bytes){lpf_ctx(L), {0}};
    lpf_push_class(L, "pofit.bytes", sys_bytes_gc);
    lua_setmetatable(L, -2);
    return b;
}

static int sys_return_bytes(lua_State *L, sys_bytes *b) {
    lua_pushlstring(L, b->buf.len ? b->buf.data : "", b->buf.len);
    pfi_buf_free(b->ctx, &b->buf);
    return 1;
}

/* ---- whole files ---- */

static int sys_read(lua_State *L) {
    const char *path = luaL_checkstring(L, 1);
    sys_bytes *b = sys_push_bytes(L);
    lpf_check(L, pfi_file_read(b->ctx, path, &b->buf));
    return sys_return_bytes(L, b);
}

static int sys_read_zst(lua_State *L) {
    const char *path = luaL_checkstring(L, 1);
    sys_bytes *raw = sys_push_bytes(L), *b = sys_push_bytes(L);
    lpf_check(L, pfi_file_read(raw->ctx, path, &raw->buf));
    lpf_check(L, pfi_zst_decompress(raw->ctx, raw->buf.data, raw->buf.len, path, &b->buf));
    return sys_return_bytes(L, b);
}

static int sys_write(lua_State *L) {
    size_t n;
    const char *path = luaL_checkstring(L, 1), *text = luaL_checklstring(L, 2, &n);
    lpf_check(L, pfi_file_write_atomic(lpf_ctx(L), path, text, n));
    return 0;
}

static int sys_write_zst(lua_State *L) {
    size_t n;
    const char *path = luaL_checkstring(L, 1), *text = luaL_checklstring(L, 2, &n);
    sys_bytes *b = sys_push_bytes(L);
    lpf_check(L, pfi_zst_compress(b->ctx, text, n, 0, &b->buf));
    lpf_check(L, pfi_file_write_atomic(b->ctx, path, b->buf.data, b->buf.len));
    return 0;
}

static int sys_mkdirs(lua_State *L) {
    lpf_check(L, pfi_file_mkdirs(lpf_ctx(L), luaL_checkstring(L, 1)));
    return 0;
}

static int sys_exists(lua_State *L) {
    lua_pushboolean(L, pfi_file_exists(luaL_checkstring(L, 1)));
    return 1;
}

static int sys_is_dir(lua_State *L) {
    lua_pushboolean(L, pfi_file_is_dir(luaL_checkstring(L, 1)));
    return 1;
}

/* a regular file: no directory, device or pipe */
static int sys_is_file(lua_State *L) {
    struct stat st;
    lua_pushboolean(L, stat(luaL_checkstring(L, 1), &st) == 0 && S_ISREG(st.st_mode));
    return 1;
}

/* size in bytes, or nil if there is no such file */
static int sys_size(lua_State *L) {
    struct stat st;
    if (stat(luaL_checkstring(L, 1), &st) != 0) return 0;
    lua_pushinteger(L, (lua_Integer)st.st_size);
    return 1;
}

static int sys_truncate(lua_State *L) {
    const char *path = luaL_checkstring(L, 1);
    if (truncate(path, (off_t)luaL_checkinteger(L, 2)) != 0)
        return lpf_refuse(L, "cannot shorten %s: %s", path, strerror(errno));
    return 0;
}

static int sys_remove(lua_State *L) {
    const char *path = luaL_checkstring(L, 1);
    if (remove(path) != 0 && errno != ENOENT) return lpf_refuse(L, "cannot remove %s: %s", path, strerror(errno));
    return 0;
}

/* ---- lines ---- */

static int sys_lines_gc(lua_State *L) {
    pfi_lines **l = lua_touserdata(L, 1);
    pfi_lines_close(*l);
    *l = NULL;
    return 0;
}

static int sys_lines_next(lua_State *L) {
    pfi_lines **l = lua_touserdata(L, lua_upvalueindex(1));
    const char *text = NULL;
    size_t n = 0;
    long line = 0;
    if (*l) lpf_check(L, pfi_lines_next(*l, &text, &n, &line));
    if (!text) {
        pfi_lines_close(*l);
        *l = NULL;
        return 0;
    }
    lua_pushlstring(L, text, n);
    lua_pushinteger(L, line);
    return 2;
}

/* for text, number in lines(path): plain or zstd */
static int sys_lines(lua_State *L) {
    const char *path = luaL_checkstring(L, 1);
    pfi_lines **l = lua_newuserdatauv(L, sizeof *l, 0);
    *l = NULL;
    lpf_push_class(L, "pofit.lines", sys_lines_gc);
    lua_setmetatable(L, -2);
    lpf_check(L, pfi_lines_open(lpf_ctx(L), path, l));
    lua_pushvalue(L, -1);
    lua_pushcclosure(L, sys_lines_next, 1);
    lua_pushnil(L);
    lua_pushnil(L);
    lua_rotate(L, -4, 3); /* function, nil, nil, and the file, closed when the loop ends */
    return 4;
}

/* ---- appending, on the disk when write returns ---- */

#define SYS_APPEND "pofit.append"

typedef struct sys_append {
    int fd;
    off_t size;  /* before the present write */
    char path[]; /* for messages */
} sys_append;

static int sys_append_gc(lua_State *L) {
    sys_append *a = luaL_checkudata(L, 1, SYS_APPEND);
    if (a->fd >= 0) close(a->fd);
    a->fd = -1;
    return 0;
}

/* what was written of a text that did not go in whole is taken back, unless others have written behind it */
static int sys_append_undo(lua_State *L, const sys_append *a, off_t put) {
    const int why = errno;
    struct stat st;
    if (put > 0 && fstat(a->fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == a->size + put &&
        ftruncate(a->fd, a->size) != 0)
        return lpf_refuse(L, "cannot write %s, whose end is broken now: %s", a->path, strerror(why));
    return lpf_refuse(L, "cannot write %s: %s", a->path, strerror(why));
}

static int sys_append_write(lua_State *L) {
    sys_append *a = luaL_checkudata(L, 1, SYS_APPEND);
    size_t n, put = 0;
    const char *text = luaL_checklstring(L, 2, &n);
    struct stat st;
    if (a->fd < 0) return lpf_error(L, "%s is closed", a->path);
    a->size = fstat(a->fd, &st) == 0 ? st.st_size : 0;
    while (put < n) {
        ssize_t more = write(a->fd, text + put, n - put);
        if (more < 0 && errno == EINTR) continue;
        if (more <= 0) return sys_append_undo(L, a, (off_t)put);
        put += (size_t)more;
    }
    if (fsync(a->fd) != 0 && errno != EINVAL && errno != EROFS) return sys_append_undo(L, a, (off_t)n);
    return 0;
}

/* append(path) -> file with write(text) and close() */
static int sys_open_append(lua_State *L) {
    size_t n;
    const char *path = luaL_checklstring(L, 1, &n);
    sys_append *a = lua_newuserdatauv(L, sizeof *a + n + 1, 0);
    a->fd = -1;
    memcpy(a->path, path, n + 1);
    lpf_push_class(L, SYS_APPEND, sys_append_gc);
    lua_createtable(L, 0, 2);
    lua_pushcfunction(L, sys_append_write);
    lua_setfield(L, -2, "write");
    lua_pushcfunction(L, sys_append_gc);
    lua_setfield(L, -2, "close");
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
    a->fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (a->fd < 0) return lpf_refuse(L, "cannot open %s: %s", path, strerror(errno));
    return 1;
}

/* ---- terminal and time ---- */

/* isatty(1 or 2): is standard output or error a terminal */
/* lock(path) -> handle, held until it is collected or the process ends; nil if another process holds it */
static int sys_lock_gc(lua_State *L) {
    int *fd = lua_touserdata(L, 1);
    if (*fd >= 0) close(*fd);
    *fd = -1;
    return 0;
}

static int sys_lock(lua_State *L) {
    const char *path = luaL_checkstring(L, 1);
    int *fd = lua_newuserdatauv(L, sizeof *fd, 0);
    *fd = -1;
    lpf_push_class(L, "pofit.lock", sys_lock_gc);
    lua_setmetatable(L, -2);
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (*fd < 0) return lpf_refuse(L, "cannot open %s: %s", path, strerror(errno));
    if (flock(*fd, LOCK_EX | LOCK_NB) != 0) lua_pushnil(L);
    return 1;
}

static int sys_isatty(lua_State *L) {
    lua_pushboolean(L, isatty((int)luaL_optinteger(L, 1, 2)));
    return 1;
}

/* columns of the terminal, 80 if unknown */
static int sys_width(lua_State *L) {
    struct winsize w;
    int cols = ioctl((int)luaL_optinteger(L, 1, 2), TIOCGWINSZ, &w) == 0 ? w.ws_col : 0;
    lua_pushinteger(L, cols > 0 ? cols : 80);
    return 1;
}

/* seconds of a clock that only goes forward */
static int sys_clock(lua_State *L) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    lua_pushnumber(L, (lua_Number)t.tv_sec + (lua_Number)t.tv_nsec * 1e-9);
    return 1;
}

/* "2026-01-31T12:00:00Z" */
static int sys_date(lua_State *L) {
    char text[32];
    time_t now = time(NULL);
    struct tm tm;
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
    lua_pushstring(L, text);
    return 1;
}

/* ---- interruption ---- */

static lpf_interrupt *sys_interrupt(lua_State *L) {
    lua_getfield(L, LUA_REGISTRYINDEX, LPF_INTERRUPT);
    lpf_interrupt *i = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return i;
}

/* has the user asked to stop (Ctrl-C)? */
static int sys_interrupted(lua_State *L) {
    lpf_interrupt *i = sys_interrupt(L);
    lua_pushboolean(L, i && i->asked);
    return 1;
}

/* poll(true): Ctrl-C only sets the flag that interrupted() reads; poll(false): it raises. Returns what was. */
static int sys_poll(lua_State *L) {
    lpf_interrupt *i = sys_interrupt(L);
    lua_pushboolean(L, i && i->poll);
    if (i) i->poll = lua_toboolean(L, 1);
    return 1;
}

/* rearm() -> had the user asked to stop? That is forgotten, and the next Ctrl-C is a first one again. */
static int sys_rearm(lua_State *L) {
    lpf_interrupt *i = sys_interrupt(L);
    lua_pushboolean(L, i && i->asked);
    if (i && i->arm) i->arm();
    return 1;
}

/* ask(prompt) -> a line from standard input; nil, "end"; or nil, "interrupted" (Ctrl-C, while poll(true) holds) */
static int sys_ask(lua_State *L) {
    luaL_Buffer b;
    lpf_interrupt *i = sys_interrupt(L);
    fputs(luaL_checkstring(L, 1), stdout);
    fflush(stdout);
    luaL_buffinit(L, &b);
    for (size_t n = 0;; n++) {
        struct pollfd f = {.fd = STDIN_FILENO, .events = POLLIN};
        char c;
        bool again = poll(&f, 1, -1) < 0 && errno == EINTR; /* unlike read, poll is not begun again after a signal */
        if (i && i->asked) {
            lua_pushnil(L);
            lua_pushliteral(L, "interrupted");
            return 2;
        }
        if (again) continue;
        if (read(STDIN_FILENO, &c, 1) <= 0) {
            if (n > 0) break; /* a last line without its end */
            lua_pushnil(L);
            lua_pushliteral(L, "end");
            return 2;
        }
        if (c == '\n') break;
        luaL_addchar(&b, c);
    }
    luaL_pushresult(&b);
    return 1;
}

/* ---- numbers ---- */

static int sys_uniform(lua_State *L) {
    lua_pushnumber(L, pfi_random_uniform((uint64_t)luaL_checkinteger(L, 1), (uint64_t)luaL_checkinteger(L, 2),
                                         (uint64_t)luaL_checkinteger(L, 3)));
    return 1;
}

static int sys_normal(lua_State *L) {
    lua_pushnumber(L, pfi_random_normal((uint64_t)luaL_checkinteger(L, 1), (uint64_t)luaL_checkinteger(L, 2),
                                        (uint64_t)luaL_checkinteger(L, 3)));
    return 1;
}

/* hash(text[, h]): 64 bits, a fingerprint and no protection */
static int sys_hash(lua_State *L) {
    size_t n;
    const char *text = luaL_checklstring(L, 1, &n);
    lua_pushinteger(L, (lua_Integer)pfi_hash64((uint64_t)luaL_optinteger(L, 2, 0), text, n));
    return 1;
}

static const luaL_Reg sys_functions[] = {
    {"read", sys_read},
    {"read_zst", sys_read_zst},
    {"write", sys_write},
    {"write_zst", sys_write_zst},
    {"mkdirs", sys_mkdirs},
    {"exists", sys_exists},
    {"is_dir", sys_is_dir},
    {"is_file", sys_is_file},
    {"size", sys_size},
    {"truncate", sys_truncate},
    {"remove", sys_remove},
    {"lines", sys_lines},
    {"append", sys_open_append},
    {"lock", sys_lock},
    {"isatty", sys_isatty},
    {"width", sys_width},
    {"clock", sys_clock},
    {"date", sys_date},
    {"interrupted", sys_interrupted},
    {"poll", sys_poll},
    {"rearm", sys_rearm},
    {"ask", sys_ask},
    {"uniform", sys_uniform},
    {"normal", sys_normal},
    {"hash", sys_hash},
    {NULL, NULL},
};

int luaopen_pofit_sys(lua_State *L) {
    luaL_requiref(L, "pofit.core", luaopen_pofit_core, 0);
    luaL_newlib(L, sys_functions);
    return 1;
}
