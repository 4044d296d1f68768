#!/bin/sh
# Allocation failure through Lua: every allocation with POFIT_LONG=1, every 37th otherwise.
set -eu
build=${BUILD:-$PWD/build}
stride=37
[ "${POFIT_LONG:-0}" = 1 ] && stride=1
san=""
[ "${POFIT_SANITIZED:-0}" = 1 ] && san="-fsanitize=address,undefined -fno-sanitize-recover=all"
host=$build/tests/lua_oom
mkdir -p "$build/tests"
# shellcheck disable=SC2046,SC2086
${CC:-cc} -std=c11 -D_GNU_SOURCE -O1 -g $san -I. -Icore $(pkg-config --cflags lua5.4) -Wl,--wrap=realloc,--wrap=free \
    -o "$host" tests/lua/oom.c $(ls "$build"/obj/lua/bind/*.o | grep -v /main.o) "$build/obj/embed.o" \
    "$build/libpofit.a" $(pkg-config --libs lua5.4 openblas libzstd jansson libpcre2-8 libutf8proc) -fopenmp -lm -pthread
OMP_NUM_THREADS=1 "$host" tests/lua/oom.lua "$stride"
