# SPDX-License-Identifier: Apache-2.0
# berth: one non-recursive Makefile. `make help` lists the targets; V=1 shows the commands.
#
#   BUILD=dir   where everything goes (default build)
#   SAN=list    sanitizers, e.g. address,undefined (use another BUILD with it)
#   WERROR=1    warnings are errors (CI and lint)

BUILD   ?= build
CC      ?= gcc
PREFIX  ?= /usr/local
VERSION := $(shell sed -n 's/.*BERTH_VERSION "\(.*\)"/\1/p' include/berth/version.h)

.DEFAULT_GOAL := all
COMMA := ,

Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-7s %s\n' $(1) $(2))

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wpointer-arith \
	-Wcast-qual -Wwrite-strings -Wvla -Walloca -Wundef -Wredundant-decls -Wnested-externs -Wformat=2 -Wswitch-enum \
	-Wimplicit-fallthrough -Wnull-dereference -Wconversion -Wsign-conversion -Wdate-time
ifneq (,$(findstring gcc,$(shell $(CC) --version | head -n1)))
WARN += -Wlogical-op -Wduplicated-cond -Wduplicated-branches -Wformat-signedness -Wjump-misses-init
endif
OPT    ?= -O2 -g
# A section per function: the plugin's --gc-sections then leaves out each function that it does not call.
CFLAGS_ALL  = -std=gnu11 -D_GNU_SOURCE $(OPT) $(WARN) $(if $(WERROR),-Werror) -Iinclude -I. -fno-common -fPIE \
	-fstack-protector-strong -ffunction-sections -fdata-sections -MMD -MP $(CFLAGS)
LDFLAGS_ALL = -pie -Wl,-z,relro,-z,now,--as-needed $(LDFLAGS)
ifdef SAN
# UBSan's null checks make -Wnull-dereference see paths that do not exist, as gcc's manual warns.
CFLAGS_ALL  += -fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all -Wno-null-dereference
LDFLAGS_ALL += -fsanitize=$(SAN)
else
CFLAGS_ALL  += -D_FORTIFY_SOURCE=2
endif

# The plugin is static in every normal build; sanitizer runtimes do not link statically. --no-warnings there: ld would
# warn of getaddrinfo() in libnl's nl_addr_info(), which nothing of ours calls.
STATIC     := $(if $(SAN),,1)
STATIC_PIE := -static-pie -Wl,--gc-sections,--no-warnings

PKGS_NET   := libnl-3.0 libnl-route-3.0
PKGS_CLOUD := libcurl libcrypto expat jansson
PKGS_IPAMD := sqlite3 libmicrohttpd
PKGS_ALL   := $(PKGS_NET) $(PKGS_CLOUD) $(PKGS_IPAMD)
# Evaluated once and only where something is compiled: `make deps` runs before pkg-config is there.
PKG_CFLAGS = $(eval PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS_ALL)))$(PKG_CFLAGS)
pkg_libs   = $(shell pkg-config --libs $(1))

# ---- rooms: one archive each ------------------------------------------------------------------------------------
ROOMS := lib/base lib/net lib/proto cloud ipamd cni ctl mocks
dirs_lib/base  := lib/base
dirs_lib/net   := lib/net
dirs_lib/proto := lib/proto
dirs_cloud     := cloud cloud/aws
dirs_ipamd     := ipamd
dirs_cni       := cni
dirs_ctl       := ctl
dirs_mocks     := mocks mocks/aws mocks/fabric

# Files with a main() stay out of the archives.
MAINS := ipamd/main.c cni/main.c ctl/main.c mocks/mockcloud.c mocks/vpcbox.c

archive = $(BUILD)/$(subst /,-,$(1)).a
objs    = $(patsubst %.c,$(BUILD)/%.o,$(1))

define room
$(1)_SRC := $$(filter-out $$(MAINS),$$(sort $$(foreach d,$$(dirs_$(1)),$$(wildcard $$(d)/*.c))))
$(call archive,$(1)): $$(call objs,$$($(1)_SRC))
ALL_SRC += $$($(1)_SRC)
endef
$(foreach r,$(ROOMS),$(eval $(call room,$(r))))
ALL_SRC += $(wildcard $(MAINS))

BASE  := $(call archive,lib/base)
NET   := $(call archive,lib/net)
PROTO := $(call archive,lib/proto)
CLOUD := $(call archive,cloud)
IPAMD := $(call archive,ipamd)
CNI   := $(call archive,cni)
CTL   := $(call archive,ctl)
MOCKS := $(call archive,mocks)

PROGRAMS := $(addprefix $(BUILD)/,berth-ipamd berth berthctl berth-mockcloud vpcbox)

.PHONY: all
all: $(PROGRAMS)

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CFLAGS_ALL) $(PKG_CFLAGS) -c -o $@ $<

$(BUILD)/%.a:
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

link = $(Q)$(CC) $(LDFLAGS_ALL) -o $@ $(filter %.o %.a,$^)

$(BUILD)/berth-ipamd: $(BUILD)/ipamd/main.o $(IPAMD) $(CLOUD) $(NET) $(PROTO) $(BASE)
	$(call say,LD,$@)
	$(link) $(call pkg_libs,$(PKGS_IPAMD) $(PKGS_CLOUD) $(PKGS_NET)) -lpthread

$(BUILD)/berth: $(BUILD)/cni/main.o $(CNI) $(NET) $(PROTO) $(BASE)
	$(call say,LD,$@)
ifdef STATIC
	$(Q)$(CC) $(filter-out -pie,$(LDFLAGS_ALL)) $(STATIC_PIE) -o $@ $(filter %.o %.a,$^) \
		$(shell pkg-config --static --libs $(PKGS_NET) jansson)
	$(Q)cp $@ $@.debug && strip $@
else
	$(link) $(call pkg_libs,$(PKGS_NET) jansson)
endif

$(BUILD)/berthctl: $(BUILD)/ctl/main.o $(CTL) $(PROTO) $(BASE)
	$(call say,LD,$@)
	$(link) $(call pkg_libs,jansson)

$(BUILD)/berth-mockcloud: $(BUILD)/mocks/mockcloud.o $(MOCKS) $(NET) $(PROTO) $(BASE)
	$(call say,LD,$@)
	$(link) $(call pkg_libs,libmicrohttpd libcrypto jansson $(PKGS_NET)) -lpthread

$(BUILD)/vpcbox: $(BUILD)/mocks/vpcbox.o $(MOCKS) $(NET) $(PROTO) $(BASE)
	$(call say,LD,$@)
	$(link) $(call pkg_libs,libmicrohttpd libcrypto jansson $(PKGS_NET)) -lpthread

# ---- tests --------------------------------------------------------------------------------------------------------
TEST_SRC  := $(sort $(wildcard tests/unit/test_*.c tests/contract/test_*.c tests/net/test_*.c))
TEST_BINS := $(TEST_SRC:%.c=$(BUILD)/%)
TEST_HELP := $(call objs,$(wildcard tests/*.c))
ALL_SRC   += $(TEST_SRC) $(wildcard tests/*.c)

$(TEST_BINS): $(BUILD)/%: $(BUILD)/%.o $(TEST_HELP) $(IPAMD) $(CNI) $(CTL) $(MOCKS) $(CLOUD) $(NET) $(PROTO) $(BASE)
	$(call say,LD,$@)
	$(link) $(call pkg_libs,$(PKGS_ALL) cmocka) -lpthread

.PHONY: tests
tests: $(PROGRAMS) $(TEST_BINS)

# The provider against moto, a mock that others wrote; not part of `make test`, because moto comes from the network.
MOTO_BIN := $(BUILD)/tests/contract/moto/drive
ALL_SRC  += tests/contract/moto/drive.c
tests: $(MOTO_BIN)

$(MOTO_BIN): $(BUILD)/tests/contract/moto/drive.o $(TEST_HELP) $(MOCKS) $(CLOUD) $(NET) $(PROTO) $(BASE)
	$(call say,LD,$@)
	$(link) $(call pkg_libs,$(PKGS_ALL) cmocka) -lpthread

# The simulator: the daemon's own objects behind other doors. Its objects come first, so that the archive's members with the
# real doors are never asked for.
SIM_OBJ   := $(call objs,$(filter-out tests/sim/sim.c tests/sim/plants.c tests/sim/test_%.c,$(wildcard tests/sim/*.c)))
SIM_WRAPS := store_lease_put store_lease_bind store_lease_release store_intent_put store_intent_del store_intents \
	opendir readdir closedir fs_read fs_unlink fs_exists
# Mistakes that test_planted puts into the daemon (tests/sim/plants.c), and nobody else.
SIM_PLANTS := pool_new pool_lease pool_lease_restore pool_nic_set_stale requests_serve_waiters
SIM_TEST   := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/sim/test_*.c))
sim_wrap    = $(addprefix -Wl$(COMMA)--wrap=,$(1))
ALL_SRC    += $(wildcard tests/sim/*.c)
tests: $(SIM_TEST)

$(BUILD)/sim: $(BUILD)/tests/sim/sim.o $(SIM_OBJ) $(IPAMD) $(CLOUD) $(PROTO) $(BASE)
	$(call say,LD,$@)
	$(link) $(call sim_wrap,$(SIM_WRAPS)) $(call pkg_libs,$(PKGS_IPAMD) $(PKGS_CLOUD))

$(BUILD)/tests/sim/test_planted: $(BUILD)/tests/sim/plants.o
$(BUILD)/tests/sim/test_planted: SIM_WRAPS += $(SIM_PLANTS)
$(SIM_TEST): $(BUILD)/%: $(BUILD)/%.o $(TEST_HELP) $(SIM_OBJ) $(IPAMD) $(CLOUD) $(PROTO) $(BASE)
	$(call say,LD,$@)
	$(link) $(call sim_wrap,$(SIM_WRAPS)) $(call pkg_libs,$(PKGS_IPAMD) $(PKGS_CLOUD) cmocka)

# Many nodes in virtual time. Stand-ins for executor, store and kernel come first, so that the archives' own stay out.
FLEET_OBJ  := $(call objs,$(filter-out tests/fleet/tables.c tests/fleet/test_%.c,$(wildcard tests/fleet/*.c)))
FLEET_TEST := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/fleet/test_*.c))
ALL_SRC    += $(wildcard tests/fleet/*.c)
tests: $(FLEET_TEST)

$(FLEET_TEST): $(BUILD)/%: $(BUILD)/%.o $(TEST_HELP) $(FLEET_OBJ) $(IPAMD) $(CLOUD) $(PROTO) $(BASE)
	$(call say,LD,$@)
	$(link) $(call pkg_libs,$(PKGS_ALL) cmocka) -lpthread -lm

# build/sim --fleet and --compare run it.
$(BUILD)/sim: | $(BUILD)/sim-fleet
$(BUILD)/sim-fleet: $(BUILD)/tests/fleet/tables.o $(FLEET_OBJ) $(IPAMD) $(CLOUD) $(PROTO) $(BASE)
	$(call say,LD,$@)
	$(link) $(call pkg_libs,$(PKGS_ALL)) -lpthread -lm

$(BUILD)/bench/bench: $(BUILD)/bench/bench.o $(NET) $(BASE)
	$(call say,LD,$@)
	$(link) $(call pkg_libs,$(PKGS_NET))

# Linked as the plugin is.
$(BUILD)/bench/floor: $(BUILD)/bench/floor.o $(BASE)
$(BUILD)/bench/empty: $(BUILD)/bench/empty.o
$(BUILD)/bench/floor $(BUILD)/bench/empty:
	$(call say,LD,$@)
	$(Q)$(CC) $(filter-out -pie,$(LDFLAGS_ALL)) $(STATIC_PIE) -o $@ $(filter %.o %.a,$^)

$(BUILD)/bench/core: $(BUILD)/bench/core.o $(IPAMD) $(CLOUD) $(NET) $(PROTO) $(BASE)
	$(call say,LD,$@)
	$(link) $(call pkg_libs,$(PKGS_ALL)) -lpthread

$(BUILD)/bench/path: $(BUILD)/bench/path.o $(CNI) $(IPAMD) $(CLOUD) $(NET) $(PROTO) $(BASE)
	$(call say,LD,$@)
	$(link) $(call pkg_libs,$(PKGS_ALL)) -lpthread
BENCH_BINS := $(addprefix $(BUILD)/bench/,bench core path floor empty)
ALL_SRC += $(wildcard bench/*.c)

# ---- fuzzing: clang's libFuzzer, one parser each --------------------------------------------------------------------
FUZZ_SRC     := $(sort $(wildcard tests/fuzz/fuzz_*.c))
FUZZ_BINS    := $(FUZZ_SRC:%.c=$(BUILD)/%)
FUZZ_SECONDS ?= 20

$(FUZZ_BINS): $(BUILD)/%: $(BUILD)/%.o $(IPAMD) $(CNI) $(CTL) $(MOCKS) $(CLOUD) $(NET) $(PROTO) $(BASE)
	$(call say,LD,$@)
	$(link) -fsanitize=fuzzer $(call pkg_libs,$(PKGS_ALL)) -lpthread
ALL_SRC += $(FUZZ_SRC)

.PHONY: fuzzers
fuzzers: $(FUZZ_BINS)

# The same parsers over their corpus, without a fuzzer: part of every test run.
REPLAY_BINS := $(FUZZ_SRC:tests/fuzz/fuzz_%.c=$(BUILD)/tests/fuzz/replay_%)
$(REPLAY_BINS): $(BUILD)/tests/fuzz/replay_%: $(BUILD)/tests/fuzz/fuzz_%.o $(BUILD)/tests/fuzz/replay.o $(IPAMD) $(CNI) \
		$(CTL) $(MOCKS) $(CLOUD) $(NET) $(PROTO) $(BASE)
	$(call say,LD,$@)
	$(link) $(call pkg_libs,$(PKGS_ALL)) -lpthread
ALL_SRC += tests/fuzz/replay.c
tests: $(REPLAY_BINS)

# ---- what people type ---------------------------------------------------------------------------------------------
.PHONY: help deps demo test test-moto test-asan lint bench sim tables fuzz clean install
help:
	@echo 'make            the programs, in $(BUILD)/'
	@echo 'make demo       two nodes in a VPC in a box: pods, pings, a killed daemon (root; installs what is missing)'
	@echo '                MODE=prefix: /28 prefixes; MODE=dual: IPv4 and IPv6'
	@echo 'make test       every test (root; installs what is missing)'
	@echo 'make test-moto  the AWS provider against moto, which comes from PyPI into $(BUILD)/moto'
	@echo 'make test-asan  the suite under AddressSanitizer and UndefinedBehaviorSanitizer'
	@echo 'make lint       warnings as errors, layers, format, static analysis'
	@echo 'make bench      figures beside the ptp and host-local plugins, and beside the kernel work alone'
	@echo 'make sim        the daemon in SIM_SEEDS (default 10000) simulated clouds'
	@echo 'make tables     the tables of docs/planner.md: rules side by side, a fleet on one account (3 min)'
	@echo 'make fuzz       each parser of foreign bytes for FUZZ_SECONDS (default 20)'
	@echo 'make deps       only the packages'

deps:
	@deploy/deps build test

MODE ?= single
demo: deps
	@$(MAKE) --no-print-directory -s all
	@BUILD=$(BUILD) MODE=$(MODE) mocks/demo

test: deps
	@$(MAKE) --no-print-directory tests
	@BUILD=$(BUILD) tests/run

test-moto: deps
	@deploy/deps moto
	@$(MAKE) --no-print-directory -s $(MOTO_BIN)
	@BUILD=$(BUILD) tests/contract/moto/run

test-asan: deps
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/asan SAN=address,undefined tests
	@BUILD=$(BUILD)/asan tests/run

bench: deps
	@$(MAKE) --no-print-directory -s all $(BENCH_BINS)
	@BUILD=$(BUILD) bench/run

fuzz: deps
	@deploy/deps fuzz
	@$(MAKE) --no-print-directory CC=clang BUILD=$(BUILD)/fuzz SAN=fuzzer-no-link,address,undefined fuzzers
	@BUILD=$(BUILD)/fuzz FUZZ_SECONDS=$(FUZZ_SECONDS) tests/fuzz/run

SIM_SEEDS ?= 10000
sim: deps
	@$(MAKE) --no-print-directory -s $(BUILD)/sim
	@$(BUILD)/sim --seeds 1..$(SIM_SEEDS) --jobs 2

tables: deps
	@$(MAKE) --no-print-directory -s $(BUILD)/sim-fleet
	@BUILD=$(BUILD) tests/fleet/tables

lint: deps
	@deploy/deps lint
	@BUILD=$(BUILD) tests/lint

clean:
	rm -rf $(BUILD)

install: all
	install -D -m 0755 $(BUILD)/berth-ipamd $(DESTDIR)$(PREFIX)/sbin/berth-ipamd
	install -D -m 0755 $(BUILD)/berthctl $(DESTDIR)$(PREFIX)/bin/berthctl
	install -D -m 0755 $(BUILD)/berth $(DESTDIR)/opt/cni/bin/berth

.SECONDARY:
-include $(patsubst %.c,$(BUILD)/%.d,$(ALL_SRC))
