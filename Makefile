# pofit: `make help` lists what can be made. Everything built goes to build/.

CC      ?= cc
CFLAGS  ?= -O3 -g
PREFIX  ?= /usr/local
DESTDIR ?=
B       ?= build
V       ?= 0
Q       := $(if $(filter 1,$V),,@)
say      = $(if $(filter 1,$V),,@printf '  %-7s %s\n' '$(1)' '$(2)';)

# ---- what we stand on ----
PKGS     := lua5.4 openblas libzstd jansson libpcre2-8 libutf8proc
DEB      := pkg-config liblua5.4-dev lua5.4 libopenblas-openmp-dev libzstd-dev libjansson-dev libpcre2-dev \
            libutf8proc-dev libcmocka-dev zstd
DEB_LINT := clang clang-format clang-tidy cppcheck lua-check
PKGC     := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
PKGL     := $(shell pkg-config --libs $(filter-out lua5.4,$(PKGS)) 2>/dev/null)
LUA_CFLAGS ?= $(shell pkg-config --cflags lua5.4 2>/dev/null)
LUA_LIBS   ?= $(shell pkg-config --libs lua5.4 2>/dev/null)

# ---- what is compiled ----
WARN   := -Wall -Wextra -Wpedantic -Wshadow -Wdouble-promotion -Wstrict-prototypes -Wmissing-prototypes -Wvla \
          $(if $(WERROR),-Werror)
BASE   := -std=c11 -D_GNU_SOURCE -fvisibility=hidden -fPIC -fopenmp -ffp-contract=off -pthread $(WARN) -Icore \
          -I$(B)/gen $(PKGC) $(SAN)
LIBS   := $(PKGL) -fopenmp -lm -pthread

TWICE   := $(sort $(filter-out core/kernel/decode.c core/kernel/vector.c,$(wildcard core/kernel/*.c)) $(wildcard core/loss/*.c) $(filter-out core/op/registry.c core/op/apply.c \
           core/op/bind.c core/op/shape.c core/op/gradcheck.c,$(wildcard core/op/*.c)))
ONCE    := $(sort $(filter-out $(TWICE),$(wildcard core/*/*.c)))
OPS     := $(sort $(basename $(notdir $(filter-out core/kernel/%,$(TWICE)))))
FAMILIES := $(sort $(basename $(notdir $(wildcard core/model/family/*.c))))
ONCE    += $(sort $(wildcard core/model/family/*.c))
BIND    := $(sort $(filter-out lua/bind/main.c,$(wildcard lua/bind/*.c)))
LUAS    := $(sort $(shell find lua/pofit -name '*.lua' ! -name '_meta.lua' 2>/dev/null))
HEADERS := $(wildcard core/*.h core/*/*.h lua/bind/*.h)

obj      = $(patsubst %.c,$(B)/obj/%.$(1),$(2))
CORE_O  := $(call obj,f32.o,$(TWICE)) $(call obj,f64.o,$(TWICE)) $(call obj,o,$(ONCE))
BIND_O  := $(call obj,o,$(BIND)) $(B)/obj/embed.o
UNIT    := $(patsubst tests/unit/%.c,$(B)/tests/%,$(sort $(wildcard tests/unit/test_*.c)))
FUZZ    := $(patsubst tests/fuzz/%.c,%,$(sort $(wildcard tests/fuzz/*.c)))
EXAMPLES := $(patsubst examples/%.c,$(B)/examples/%,$(sort $(wildcard examples/*.c)))

# ---- targets ----
.DEFAULT_GOAL := all
.PHONY: all run claims test build-test build-fuzz check-long asan asan-clang valgrind oom fuzz bench bench-diff lint format format-check meta install \
        uninstall clean help deps lint-deps FORCE
.DELETE_ON_ERROR:

all: $(B)/libpofit.a $(B)/libpofit.so $(B)/pofit $(B)/pofit.so $(EXAMPLES) ## library, Lua module and program

run: deps ## train a small policy from nothing and improve it by DPO (sets the machine up first)
	$(Q)$(MAKE) --no-print-directory all
	$(Q)$(B)/pofit recipes/dpo.lua $(ARGS)

test: deps ## all tests (sets the machine up first)
	$(Q)$(MAKE) --no-print-directory all build-test
	$(Q)tests/run.sh $(B) $(T)

build-test: $(UNIT)

asan: deps ## the tests under AddressSanitizer and UndefinedBehaviourSanitizer
	$(Q)$(MAKE) --no-print-directory all build-test B=build/asan CFLAGS="-O1 -g -fno-omit-frame-pointer" \
	    SAN="-fsanitize=address,undefined -fno-sanitize-recover=all"
	$(Q)POFIT_SANITIZED=1 tests/run.sh build/asan $(T)

asan-clang: deps lint-deps ## the same with clang
	$(Q)$(MAKE) --no-print-directory all build-test B=build/asan-clang CC=clang CFLAGS="-O1 -g -fno-omit-frame-pointer" \
	    SAN="-fsanitize=address,undefined -fno-sanitize-recover=all"
	$(Q)POFIT_SANITIZED=1 CC=clang tests/run.sh build/asan-clang $(T)

oom: all build-test ## every allocation fails in turn, in C and through Lua
	$(Q)POFIT_LONG=1 tests/run.sh $(B) $(notdir $(basename $(shell grep -l support_sweep tests/unit/test_*.c))) test_lua_oom

# each target for FUZZ_S seconds; what is found comes to build/fuzz/found-NAME-* and, mended, to tests/fuzz/corpus/NAME
FUZZ_S ?= 20
fuzz: deps lint-deps ## libFuzzer on all that reads files
	$(Q)$(MAKE) --no-print-directory build-fuzz B=build/fuzz CC=clang CFLAGS="-O1 -g -fno-omit-frame-pointer" \
	    SAN="-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all"
	$(Q)for t in $(FUZZ); do mkdir -p build/fuzz/corpus/$$t; echo "  FUZZ    $$t"; \
	  build/fuzz/fuzz-$$t -max_total_time=$(FUZZ_S) -timeout=10 -rss_limit_mb=2048 -verbosity=0 -print_final_stats=1 \
	    -max_len=4096 -artifact_prefix=build/fuzz/found-$$t- build/fuzz/corpus/$$t tests/fuzz/corpus/$$t \
	    >build/fuzz/$$t.log 2>&1 || { tail -n 40 build/fuzz/$$t.log; exit 1; }; \
	  grep executed_units build/fuzz/$$t.log; done

build-fuzz: $(FUZZ:%=$(B)/fuzz-%)

valgrind: all build-test ## the unit tests under valgrind
	$(Q)tests/valgrind.sh $(B)

check-long: all build-test ## long sweeps: kill -9 and resume, allocation failure through Lua, fuzz corpus
	$(Q)POFIT_LONG=1 tests/run.sh $(B) $(T)

claims: deps ## train both sides of each paper's claims and say what is reproduced (up to an hour; ARGS="--only aft --jobs 2")
	$(Q)$(MAKE) --no-print-directory all
	$(Q)$(B)/pofit tests/claims/run.lua $(ARGS)

bench: all ## measure against peers, interleaved (ARGS="--list", "--rounds 5 --only dpo"; see tests/bench/run.lua)
	$(Q)$(B)/pofit tests/bench/run.lua $(ARGS)

bench-diff: all ## two builds of pofit on the same works, interleaved (OLD=DIR ARGS="--only dpo")
	$(Q)$(B)/pofit tests/bench/diff.lua --old $(OLD) $(ARGS)

$(B)/gen/pf_ops.inc: FORCE
	$(Q)mkdir -p $(@D)
	$(Q)printf 'X(%s)\n' $(OPS) | LC_ALL=C sort > $@.new; cmp -s $@.new $@ && rm $@.new || mv $@.new $@

$(B)/gen/pf_families.inc: FORCE
	$(Q)mkdir -p $(@D)
	$(Q)printf 'X(%s)\n' $(FAMILIES) | LC_ALL=C sort > $@.new; cmp -s $@.new $@ && rm $@.new || mv $@.new $@

# the flags are a prerequisite too: a build with other flags starts anew
$(B)/gen/flags: FORCE
	$(Q)mkdir -p $(@D)
	$(Q)echo '$(CC) $(CFLAGS) $(BASE)' > $@.new; cmp -s $@.new $@ && rm $@.new || mv $@.new $@

GEN := $(B)/gen/pf_ops.inc $(B)/gen/pf_families.inc $(B)/gen/flags

# kernels may fuse multiply and add; elsewhere two compilers must agree, and stored weights mean the same everywhere
# Nobody reads errno: while the compiler keeps it for sqrt, loops over it are scalar.
KERNEL_FLAGS = $(if $(filter core/kernel/%,$<),-fno-math-errno $(if $(filter-out core/kernel/quant.c,$<),-ffp-contract=fast))

$(B)/obj/%.f32.o: %.c $(GEN) $(HEADERS)
	$(Q)mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(CFLAGS) $(BASE) $(KERNEL_FLAGS) -c $< -o $@

$(B)/obj/%.f64.o: %.c $(GEN) $(HEADERS)
	$(Q)mkdir -p $(@D)
	$(call say,CC,$< (double))$(CC) $(CFLAGS) $(BASE) $(KERNEL_FLAGS) -DPFI_DOUBLE -c $< -o $@

$(B)/obj/lua/%.o: lua/%.c $(GEN) $(HEADERS)
	$(Q)mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(CFLAGS) $(BASE) $(LUA_CFLAGS) -c $< -o $@

$(B)/obj/%.o: %.c $(GEN) $(HEADERS)
	$(Q)mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(CFLAGS) $(BASE) $(KERNEL_FLAGS) -c $< -o $@

# the Lua files as bytes
$(B)/gen/embed.c: $(LUAS) $(GEN)
	$(Q){ echo '#include "lua/bind/embed.h"'; \
	  n=0; for f in $(LUAS); do n=$$((n+1)); echo "static const unsigned char f$$n[] = {"; \
	    od -An -v -tu1 $$f | sed 's/  */,/g; s/^,//; s/$$/,/'; echo "0};"; done; \
	  echo 'const lpf_embedded lpf_embedded_files[] = {'; \
	  n=0; for f in $(LUAS); do n=$$((n+1)); \
	    m=$$(echo $$f | sed 's,^lua/,,; s,/init\.lua$$,,; s,\.lua$$,,; s,/,.,g'); \
	    echo "{\"$$m\", \"$$f\", f$$n, sizeof f$$n - 1},"; done; echo '{0, 0, 0, 0}};'; } > $@

$(B)/obj/embed.o: $(B)/gen/embed.c
	$(Q)mkdir -p $(@D)
	$(call say,CC,embedded Lua)$(CC) $(CFLAGS) $(BASE) -I. -c $< -o $@

$(B)/libpofit.a: $(CORE_O)
	$(call say,AR,$@)rm -f $@; ar rcs $@ $(CORE_O)

$(B)/libpofit.so: $(CORE_O)
	$(call say,LD,$@)$(CC) $(CFLAGS) $(SAN) -shared -Wl,-soname,libpofit.so -o $@ $(CORE_O) $(LDFLAGS) $(LIBS)

$(B)/pofit: $(B)/obj/lua/bind/main.o $(BIND_O) $(B)/libpofit.a
	$(call say,LD,$@)$(CC) $(CFLAGS) $(SAN) -Wl,-E -o $@ $^ $(LDFLAGS) $(LUA_LIBS) $(LIBS)

$(B)/pofit.so: $(BIND_O) $(B)/libpofit.a
	$(call say,LD,$@)$(CC) $(CFLAGS) $(SAN) -shared -o $@ $^ $(LDFLAGS) $(LIBS)

$(B)/tests/%: tests/unit/%.c $(wildcard tests/unit/*.h) $(B)/libpofit.a $(HEADERS)
	$(Q)mkdir -p $(@D)
	$(call say,TEST,$@)$(CC) $(CFLAGS) $(BASE) -Itests/unit $< -o $@ $(B)/libpofit.a $(LDFLAGS) -lcmocka $(LIBS)

$(B)/tests/test_corpus: $(wildcard tests/fuzz/*.[ch])

$(B)/fuzz-%: tests/fuzz/%.c tests/fuzz/fuzz.h $(B)/libpofit.a $(HEADERS)
	$(call say,FUZZ,$@)$(CC) $(CFLAGS) $(BASE) -fsanitize=fuzzer $< -o $@ $(B)/libpofit.a $(LDFLAGS) $(LIBS)

$(B)/examples/%: examples/%.c $(B)/libpofit.a core/pofit.h
	$(Q)mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(CFLAGS) $(BASE) $< -o $@ $(B)/libpofit.a $(LDFLAGS) $(LIBS)

# ---- setting up ----
# $(call need,packages): installs what is missing where root or sudo allows it, else prints the command
need = missing=""; for p in $(1); do dpkg-query -W -f '$${Status}\n' $$p 2>/dev/null | grep -q 'install ok installed' || \
	  missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then \
	  if ! command -v apt-get >/dev/null; then \
	    echo "pofit needs, under your system's names for them:$$missing"; exit 0; fi; \
	  if [ "$$(id -u)" = 0 ]; then as=""; elif sudo -n true 2>/dev/null; then as="sudo"; else \
	    echo "Some packages are missing. Install them with:"; \
	    echo "  sudo apt-get install -y --no-install-recommends$$missing"; exit 1; fi; \
	  echo "  installing:$$missing"; \
	  ( $$as apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$as apt-get install -y -qq --no-install-recommends \
	    $$missing ) >$(B).deps.log 2>&1 || { cat $(B).deps.log; exit 1; }; rm -f $(B).deps.log; fi

deps: ## install the Debian packages that are missing, or print the command
	$(Q)$(call need,$(DEB))

lint-deps:
	$(Q)$(call need,$(DEB_LINT))

# ---- keeping the house ----
lint: deps lint-deps ## warnings as errors with gcc and clang, static checks, layout, size limits
	$(Q)$(MAKE) --no-print-directory -j$(JOBS) all build-test B=build/lint-gcc CC=gcc CFLAGS="-O2 -g" WERROR=1
	$(Q)$(MAKE) --no-print-directory -j$(JOBS) all build-test B=build/lint-clang CC=clang CFLAGS="-O1 -g" WERROR=1
	$(Q)$(MAKE) --no-print-directory build/compile_commands.json
	$(Q)tests/lint.sh build/lint-gcc

JOBS   := $(shell nproc 2>/dev/null || echo 1)
C_FILES = $(shell find core lua examples tests -name '*.[ch]')

# for clangd and clang-tidy
build/compile_commands.json: FORCE
	$(Q)mkdir -p $(@D)
	$(Q){ echo '['; for f in $(sort $(filter %.c,$(C_FILES))); do \
	  printf '%s{"directory": "%s", "file": "%s", "command": "%s"}\n' "$$sep" '$(CURDIR)' "$$f" \
	    '$(CC) -std=c11 $(BASE) $(LUA_CFLAGS) -Itests/unit -I. -c '"$$f"; sep=,; done; echo ']'; } > $@

format: ## lay out the C files
	$(Q)clang-format -i $(C_FILES)

format-check: lint-deps ## fail if `make format` would change something
	$(Q)clang-format --dry-run -Werror $(C_FILES)

meta: all ## regenerate the editor stubs
	$(Q)$(B)/pofit --stubs > lua/pofit/_meta.lua

install: all ## install under PREFIX (/usr/local), honouring DESTDIR
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/pkgconfig $(DESTDIR)$(PREFIX)/include \
	    $(DESTDIR)$(PREFIX)/lib/lua/5.4 $(DESTDIR)$(PREFIX)/share/pofit/recipes
	install -m 755 $(B)/pofit $(DESTDIR)$(PREFIX)/bin
	install -m 644 $(B)/libpofit.a $(DESTDIR)$(PREFIX)/lib
	install -m 755 $(B)/libpofit.so $(DESTDIR)$(PREFIX)/lib
	install -m 644 core/pofit.h $(DESTDIR)$(PREFIX)/include
	install -m 755 $(B)/pofit.so $(DESTDIR)$(PREFIX)/lib/lua/5.4
	install -m 644 recipes/*.lua $(DESTDIR)$(PREFIX)/share/pofit/recipes
	printf 'prefix=%s\nName: pofit\nDescription: preference optimisation engine\nVersion: %s\nLibs: -L$${prefix}/lib -lpofit\nLibs.private: %s\nCflags: -I$${prefix}/include\n' \
	    '$(PREFIX)' "$$($(B)/pofit --version | sed 's/^pofit //; s/ .*//')" '$(LIBS)' \
	    > $(DESTDIR)$(PREFIX)/lib/pkgconfig/pofit.pc

uninstall: ## remove what install put there
	rm -rf $(DESTDIR)$(PREFIX)/bin/pofit $(DESTDIR)$(PREFIX)/lib/libpofit.a $(DESTDIR)$(PREFIX)/lib/libpofit.so \
	    $(DESTDIR)$(PREFIX)/include/pofit.h $(DESTDIR)$(PREFIX)/lib/lua/5.4/pofit.so \
	    $(DESTDIR)$(PREFIX)/share/pofit $(DESTDIR)$(PREFIX)/lib/pkgconfig/pofit.pc

clean: ## remove build/
	rm -rf build

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1|\2/p' Makefile | column -t -s '|' 2>/dev/null || \
	  sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1   \2/p' Makefile
