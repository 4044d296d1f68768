/* The program: pofit FILE.lua, pofit COMMAND, pofit -e CODE, pofit help NAME, or a prompt. */
#include <errno.h>
#include <malloc.h>
#include <omp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <lualib.h>

#include "bind.h"

enum { EXIT_SCRIPT = 1, EXIT_USAGE = 2, EXIT_INTERRUPTED = 130 };

static const char main_usage[] =
    "pofit fits language models to preferences.\n"
    "\n"
    "usage: pofit [OPTION...] FILE.lua [--NAME VALUE ...]\n"
    "       pofit [OPTION...] COMMAND [WORD ...] [--NAME VALUE ...]\n"
    "\n"
    "  pofit recipes/dpo.lua                train and improve a small policy, from nothing\n"
    "  pofit recipes/dpo.lua --help         what a recipe can be told\n"
    "  pofit -e 'CODE'                      run Lua; pf is the library\n"
    "  pofit                                a prompt for Lua\n"
    "  pofit inspect data FILE --model DIR  what a model would be trained on\n"
    "  pofit help [NAME]                    what there is; what a loss, function or command does\n"
    "\n"
    "  --traceback   with an error, show where it came from\n"
    "  --lua DIR     take the library's Lua files from DIR/pofit\n"
    "  --stubs       print declarations for an editor's Lua language server\n"
    "  --version     print version and build\n"
    "  --help        print this\n"
    "\n"
    "FILE is looked for here, then under the installed share/pofit. Unknown global names are errors.\n"
    "Ctrl-C once asks a run to stop at its next safe point, twice ends the program.\n";

typedef struct main_args {
    int argc, script; /* script: place of FILE or of the first argument after -e CODE */
    char **argv;
    const char *code, *lua_dir, *help;
    bool traceback, stubs, helping;
} main_args;

/* ---- standard output ---- */

static bool main_failed; /* the exit status says so already, and the reason was printed */

/* What stdio still holds is written at the very end, whichever way that comes; if it cannot be, that is an error. */
static void main_close_output(void) {
    const char *why = ferror(stdout) ? "some of it could not be written (is the disk full?)" : NULL;
    if (fflush(stdout) != 0) why = strerror(errno);
    if (fclose(stdout) != 0 && errno != EBADF && !why) why = strerror(errno); /* EBADF: closed from the beginning */
    if (!why || main_failed) return;
    fprintf(stderr, "pofit: standard output: %s\n", why);
    fflush(NULL);
    _exit(EXIT_SCRIPT);
}

/* ---- Ctrl-C ---- */

static lpf_interrupt main_interrupt;
static lua_State *main_state;

static void main_stop(lua_State *L, lua_Debug *ar) {
    (void)ar;
    lua_sethook(L, NULL, 0, 0);
    lpf_refuse(L, "interrupted");
}

static void main_on_signal(int sig) {
    signal(sig, SIG_DFL); /* the second one ends the program */
    main_interrupt.asked = 1;
    if (main_interrupt.poll) return;
    if (main_interrupt.ctx) pf_cancel(main_interrupt.ctx);
    lua_sethook(main_state, main_stop, LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT, 1);
}

static void main_arm(void) {
    main_interrupt.asked = 0;
    signal(SIGINT, main_on_signal);
}

/* ---- running ---- */

static int main_message(lua_State *L) {
    const char *text = lua_tostring(L, 1);
    if (!text && luaL_callmeta(L, 1, "__tostring") && lua_isstring(L, -1)) text = lua_tostring(L, -1);
    if (!text) text = lua_pushfstring(L, "(error object is a %s value)", luaL_typename(L, 1));
    if (lua_toboolean(L, lua_upvalueindex(1)))
        luaL_traceback(L, L, text, 1);
    else
        lua_pushstring(L, text);
    return 1;
}

/* a run that can go on says how */
static void main_go_on(lua_State *L) {
    const int top = lua_gettop(L);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    if (lua_getfield(L, -1, "pofit.run") == LUA_TTABLE && lua_getfield(L, -1, "go_on") == LUA_TFUNCTION)
        lua_pcall(L, 0, 0, 0);
    lua_settop(L, top);
}

/* call the function below n arguments; what goes wrong is printed */
static int main_call(lua_State *L, const main_args *a, int n, int results) {
    int base = lua_gettop(L) - n;
    lua_pushboolean(L, a->traceback);
    lua_pushcclosure(L, main_message, 1);
    lua_insert(L, base);
    main_state = L;
    signal(SIGINT, main_on_signal);
    int status = lua_pcall(L, n, results, base);
    signal(SIGINT, SIG_DFL);
    lua_remove(L, base);
    if (status == LUA_OK) return EXIT_SUCCESS;
    const char *text = lua_tostring(L, -1);
    fflush(stdout);
    fprintf(stderr, "pofit: %s\n", text ? text : "not enough memory");
    lua_pop(L, 1);
    if (!main_interrupt.asked) return EXIT_SCRIPT;
    main_go_on(L);
    return EXIT_INTERRUPTED;
}

/* push FILE as it can be opened: here, or where the program was installed */
static void main_push_path(lua_State *L, const char *file) {
    char exe[4096];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    exe[n > 0 ? n : 0] = 0;
    char *bin = strrchr(exe, '/');
    if (bin) *bin = 0;
    const char *const places[] = {"%s%s", "%s/../share/pofit/%s", "%s/../share/pofit/recipes/%s",
                                  "%s/../share/pofit/recipes/%s.lua"};
    for (int i = 0; i < 4; i++) {
        lua_pushfstring(L, places[i], i ? exe : "", file);
        if (access(lua_tostring(L, -1), R_OK) == 0) return;
        lua_pop(L, 1);
        if (file[0] == '/') break;
    }
    lua_pushstring(L, file);
}

/* modules beside the script are found too */
static void main_set_path(lua_State *L, const char *path) {
    const char *slash = strrchr(path, '/');
    lua_getglobal(L, "package");
    if (slash)
        lua_pushlstring(L, path, (size_t)(slash - path));
    else
        lua_pushliteral(L, ".");
    lua_getfield(L, -2, "path");
    lua_pushfstring(L, "%s/?.lua;%s", lua_tostring(L, -2), lua_tostring(L, -1));
    lua_setfield(L, -4, "path");
    lua_pop(L, 3);
}

static int main_push_args(lua_State *L, const main_args *a) {
    int n = a->argc - a->script - 1;
    lua_newtable(L);
    for (int i = 0; i < a->argc; i++) {
        lua_pushstring(L, a->argv[i]);
        lua_rawseti(L, -2, i - a->script);
    }
    lua_setglobal(L, "arg");
    luaL_checkstack(L, n + 4, "too many arguments");
    for (int i = 1; i <= n; i++) lua_pushstring(L, a->argv[a->script + i]);
    return n > 0 ? n : 0;
}

static void main_require(lua_State *L, const char *module) {
    lua_getglobal(L, "require");
    lua_pushstring(L, module);
    lua_call(L, 1, 1);
}

/* push the function for FILE if it is the name of a command; a path with / or . is none */
static bool main_push_command(lua_State *L, const main_args *a) {
    const char *name = a->script < a->argc ? a->argv[a->script] : NULL;
    if (a->code || !name || !*name || strpbrk(name, "/.-")) return false;
    main_require(L, "pofit.command");
    lua_getfield(L, -1, "find");
    lua_pushstring(L, name);
    main_push_path(L, name);
    lua_pushboolean(L, access(lua_tostring(L, -1), R_OK) == 0);
    lua_replace(L, -2);
    lua_call(L, 2, 1);
    return lua_isfunction(L, -1);
}

static int main_run_script(lua_State *L) {
    const main_args *a = lua_touserdata(L, 1);
    if (main_push_command(L, a)) {
        /* the function is all there is to it */
    } else if (a->code) {
        main_require(L, "pofit");
        lua_setglobal(L, "pf");
        main_set_path(L, ".");
        if (luaL_loadbufferx(L, a->code, strlen(a->code), "=-e", "t") != LUA_OK) return lua_error(L);
    } else {
        bool input = a->script >= a->argc || strcmp(a->argv[a->script], "-") == 0;
        main_push_path(L, input ? "" : a->argv[a->script]);
        main_set_path(L, lua_tostring(L, -1));
        if (luaL_loadfilex(L, input ? NULL : lua_tostring(L, -1), "t") != LUA_OK) return lua_error(L);
    }
    int n = main_push_args(L, a);
    main_require(L, "pofit.strict");
    lua_pop(L, 1);
    lua_call(L, n, 0);
    return 0;
}

/* help and stubs are Lua modules that return a text for a name */
static int main_run_text(lua_State *L) {
    const main_args *a = lua_touserdata(L, 1);
    main_require(L, a->stubs ? "pofit.stubs" : "pofit.help");
    lua_pushstring(L, a->stubs ? NULL : a->help);
    lua_call(L, 1, 1);
    const char *text = luaL_checkstring(L, -1);
    fputs(text, stdout);
    if (*text && text[strlen(text) - 1] != '\n') putchar('\n');
    return 0;
}

/* ---- the prompt ---- */

static bool main_incomplete(lua_State *L, int status) {
    if (status != LUA_ERRSYNTAX) return false;
    const char *text = lua_tostring(L, -1);
    size_t n = strlen(text);
    return n >= 5 && strcmp(text + n - 5, "<eof>") == 0;
}

/* push the text at 1 as a function, as an expression if it is one; else its error */
static int main_compile(lua_State *L) {
    size_t n;
    lua_pushfstring(L, "return %s", lua_tostring(L, 1));
    const char *text = lua_tolstring(L, -1, &n);
    if (luaL_loadbufferx(L, text, n, "=stdin", "t") == LUA_OK) return LUA_OK;
    lua_settop(L, 1);
    text = lua_tolstring(L, 1, &n);
    return luaL_loadbufferx(L, text, n, "=stdin", "t");
}

/* push the next statement as a function; false at the end of input */
static bool main_read(lua_State *L) {
    char line[4096];
    lua_settop(L, 0);
    lua_pushliteral(L, "");
    for (;;) {
        fputs(lua_rawlen(L, 1) ? ">> " : "> ", stdout);
        fflush(stdout);
        if (!fgets(line, sizeof line, stdin)) return false;
        lua_pushstring(L, line);
        lua_concat(L, 2);
        int status = main_compile(L);
        if (status == LUA_OK) return true;
        if (!main_incomplete(L, status)) {
            fprintf(stderr, "%s\n", lua_tostring(L, -1));
            lua_pushliteral(L, "");
            lua_replace(L, 1);
        }
        lua_settop(L, 1);
    }
}

static int main_prepare_prompt(lua_State *L) {
    main_require(L, "pofit");
    lua_setglobal(L, "pf");
    main_set_path(L, ".");
    lua_newtable(L);
    lua_setglobal(L, "arg");
    main_require(L, "pofit.strict");
    return 0;
}

static int main_prompt(lua_State *L, const main_args *a) {
    lua_pushcfunction(L, main_prepare_prompt);
    if (main_call(L, a, 0, 0) != EXIT_SUCCESS) return EXIT_SCRIPT;
    printf("pofit %s, %s. pf is the library; pf.help(\"dpo\").\n", pf_version(), LUA_RELEASE);
    while (main_read(L)) {
        lua_replace(L, 1);
        lua_settop(L, 1);
        main_interrupt.asked = 0;
        if (main_call(L, a, 0, LUA_MULTRET) != EXIT_SUCCESS || lua_gettop(L) == 0) continue;
        lua_getglobal(L, "print");
        lua_insert(L, 1);
        main_call(L, a, lua_gettop(L) - 1, 0);
    }
    putchar('\n');
    return EXIT_SUCCESS;
}

/* ---- the command line ---- */

static int main_fail(const char *message, const char *what) {
    fprintf(stderr, "pofit: %s%s\nTry: pofit --help\n", message, what);
    return EXIT_USAGE;
}

/* EXIT_SUCCESS: go on; -1: done */
static int main_parse(main_args *a) {
    int i = 1;
    for (; i < a->argc; i++) {
        const char *s = a->argv[i];
        bool value = strcmp(s, "-e") == 0 || strcmp(s, "--lua") == 0;
        if (value && i + 1 >= a->argc) return main_fail("something must follow ", s);
        if (strcmp(s, "--traceback") == 0)
            a->traceback = true;
        else if (strcmp(s, "--lua") == 0)
            a->lua_dir = a->argv[++i];
        else if (strcmp(s, "--stubs") == 0)
            a->stubs = true;
        else if (strcmp(s, "-e") == 0) {
            a->code = a->argv[++i];
            break;
        } else if (strcmp(s, "--version") == 0) {
            printf("pofit %s (%s, %s)\n", pf_version(), LUA_RELEASE, sizeof(void *) == 8 ? "64 bits" : "32 bits");
            return -1;
        } else if (strcmp(s, "--help") == 0 || strcmp(s, "-h") == 0) {
            fputs(main_usage, stdout);
            return -1;
        } else if (s[0] == '-' && s[1])
            return main_fail("unknown option ", s);
        else
            break;
    }
    a->script = i;
    a->helping = !a->code && i < a->argc && strcmp(a->argv[i], "help") == 0;
    if (a->helping && i + 1 < a->argc) a->help = a->argv[i + 1];
    return EXIT_SUCCESS;
}

/* GNU OpenMP reads its settings when it is loaded. By default its threads spin for milliseconds before they sleep; on
 * a machine that does something else besides, they then spin away the very time that the others need (measured: ten
 * times slower and more). Ask for a short spin and start again, once; not where threads are bound to processors, as
 * this one already is to the first, which it would hand on to all. */
static void main_short_spin(char **argv) {
    if (getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY") || omp_get_proc_bind() != omp_proc_bind_false) return;
    setenv("GOMP_SPINCOUNT", "1000", 1);
    execv("/proc/self/exe", argv);
}

/* What a context gives back is soon asked for in other sizes: let the C library keep it, instead of giving it to the
 * system and paying a page fault for every 4 KiB of the next block. */
static void main_keep_memory(void) {
#ifdef M_MMAP_THRESHOLD
    mallopt(M_MMAP_THRESHOLD, 1 << 30);
    mallopt(M_TRIM_THRESHOLD, -1);
#endif
}

int main(int argc, char **argv) {
    main_short_spin(argv);
    main_keep_memory();
    atexit(main_close_output);
    signal(SIGXFSZ, SIG_IGN); /* writing beyond the limit of file sizes then fails with a reason, as on a full disk */
    main_args a = {.argc = argc, .argv = argv};
    int status = main_parse(&a);
    if (status != EXIT_SUCCESS) return status < 0 ? EXIT_SUCCESS : status;
    lua_State *L = luaL_newstate();
    if (!L) return main_fail("not enough memory", "");
    luaL_openlibs(L);
    lpf_install(L, a.lua_dir);
    main_interrupt.arm = main_arm;
    lua_pushlightuserdata(L, &main_interrupt);
    lua_setfield(L, LUA_REGISTRYINDEX, LPF_INTERRUPT);
    if (!a.code && !a.stubs && !a.helping && a.script >= argc && isatty(0)) {
        status = main_prompt(L, &a);
    } else {
        lua_pushcfunction(L, a.stubs || a.helping ? main_run_text : main_run_script);
        lua_pushlightuserdata(L, &a);
        status = main_call(L, &a, 1, 0);
    }
    lua_close(L);
    main_failed = status != EXIT_SUCCESS;
    return status;
}
