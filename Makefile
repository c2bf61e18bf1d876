# vqatools - GNU make. Adding a command, a module or a test touches nothing here.
#
#   make                     everything, into $(BUILD)/
#   make test                all tests        (scripts/test installs what they need first)
#   make check               structure: format, layers, rooms, symbols, headers, docs
#   make SAN=address,undefined test           the same under sanitizers, in a directory of its own
#   make install PREFIX=/usr/local DESTDIR=   and uninstall

CC      ?= cc
PREFIX  ?= /usr/local
BINDIR  ?= $(PREFIX)/bin
DATADIR ?= $(PREFIX)/share/vqatools
MANDIR  ?= $(PREFIX)/share/man
PKG_CONFIG ?= pkg-config

SAN   ?=
BUILD ?= build$(if $(SAN),-san)

WARN   = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla \
         -Wformat=2 -Werror=implicit-function-declaration
HARDEN = -fstack-protector-strong -fPIE $(if $(SAN),,-D_FORTIFY_SOURCE=2)
CFLAGS ?= -O2 -g
STD    = -std=c11 -D_GNU_SOURCE -ffp-contract=off -pthread
SANFLAGS = $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer)

VERSION := $(shell cat VERSION)
PKGS    := jansson libutf8proc libcrypto libjpeg libwebp $(shell $(PKG_CONFIG) --exists msgpack && echo msgpack || echo msgpack-c)
PKG_CFLAGS := $(shell $(PKG_CONFIG) --cflags $(PKGS) stb)
PKG_LIBS   := $(shell $(PKG_CONFIG) --libs $(PKGS))

ALL_CFLAGS = $(STD) $(WARN) $(HARDEN) $(CFLAGS) $(SANFLAGS) -Ilib $(PKG_CFLAGS) \
             -DVQA_VERSION='"$(VERSION)"'
ALL_LDFLAGS = -pie -pthread -Wl,--as-needed -Wl,-z,relro,-z,now $(SANFLAGS) $(LDFLAGS)
LIBS = $(PKG_LIBS) -lm $(SOCKETS)

# Several processes train together where MPI is; one file or the other.
MPI_LIBS := $(shell $(PKG_CONFIG) --libs ompi-c 2>/dev/null)
LIB_SRC  := $(filter-out lib/port/$(if $(MPI_LIBS),nompi,mpi).c,$(sort $(wildcard lib/*/*.c)))
LIB_OBJ  := $(LIB_SRC:%.c=$(BUILD)/%.o)
CMD_SRC  := $(sort $(wildcard cmd/*.c))
CMDS     := $(CMD_SRC:cmd/%.c=$(BUILD)/bin/%)
UNIT_SRC := $(sort $(wildcard tests/unit/*.c))
UNITS    := $(UNIT_SRC:%.c=$(BUILD)/%)
MANS     := $(sort $(wildcard man/*.[1-9]))
SHARED   := $(sort $(wildcard share/demo-model/* share/examples/*))
ARCHIVE  := $(BUILD)/libvqa.a

# V=1 shows the commands
Q   := $(if $(V),,@)
SAY := @$(if $(V),:,printf '%-3s %s\n')

all: $(CMDS)

# Per-file flags: parsers convert nothing silently; each instruction set has a file of its own.
$(BUILD)/lib/wire/%.o $(BUILD)/lib/store/%.o $(BUILD)/lib/image/%.o $(BUILD)/lib/text/%.o \
$(BUILD)/lib/rpc/%.o $(BUILD)/lib/port/%.o: \
    EXTRA = -Wconversion -Wno-sign-conversion
$(BUILD)/lib/image/stb.o: EXTRA = -w
AVX2   = $(if $(SAN),-O1,-O3) -mavx2 -mfma -mf16c
AVX512 = $(AVX2) -mavx512f -mavx512bw -mavx512dq -mavx512vl
$(BUILD)/lib/kern/avx2.o: EXTRA = $(AVX2)
$(BUILD)/lib/kern/avxvnni.o: EXTRA = $(AVX2) -mavxvnni
$(BUILD)/lib/kern/avx512.o: EXTRA = $(AVX512)
$(BUILD)/lib/kern/avx512vnni.o: EXTRA = $(AVX512) -mavx512vnni
$(BUILD)/lib/kern/avx512bf16.o: EXTRA = $(AVX512) -mavx512bf16
# Loops over rows and columns, which -O2 leaves as they are.
$(BUILD)/lib/nn/back_%.o $(BUILD)/lib/train/%.o: EXTRA = $(if $(SAN),,-O3)
$(BUILD)/lib/port/mpi.o: EXTRA += $(shell $(PKG_CONFIG) --cflags ompi-c 2>/dev/null)
$(BUILD)/bin/qformer-train $(BUILD)/tests/unit/mpi: SOCKETS += $(MPI_LIBS)
# Another PREFIX is another path in one file.
$(BUILD)/lib/cli/env.o: EXTRA = -DVQA_DATADIR='"$(DATADIR)"'
$(BUILD)/lib/cli/env.o: $(BUILD)/datadir

$(BUILD)/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(SAY) CC $@
	$(Q)$(CC) $(ALL_CFLAGS) $(EXTRA) -MMD -MP -c -o $@ $<

$(ARCHIVE): $(LIB_OBJ)
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

$(BUILD)/bin/%: $(BUILD)/cmd/%.o $(ARCHIVE)
	@mkdir -p $(@D)
	$(SAY) LD $@
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $< $(ARCHIVE) $(LIBS)

# The only programs that know sockets.
$(BUILD)/bin/stage-serve $(BUILD)/bin/stage-call $(BUILD)/bin/vqa-keygen: \
    SOCKETS = $(shell $(PKG_CONFIG) --libs libzmq)

$(BUILD)/tests/unit/%: $(BUILD)/tests/unit/%.o $(ARCHIVE)
	$(SAY) LD $@
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $< $(ARCHIVE) $(LIBS)
$(BUILD)/tests/unit/%.o: EXTRA = -Itests

# What measures, for scripts/bench.
$(BUILD)/tests/bench/%: $(BUILD)/tests/bench/%.o $(ARCHIVE)
	$(SAY) LD $@
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $< $(ARCHIVE) $(LIBS)

# What a hit of the cache costs, beside LMDB (liblmdb-dev) and cat: 10 s.
$(BUILD)/tests/bench/cache-hit: SOCKETS = -llmdb
bench-cache: $(BUILD)/tests/bench/cache-hit
	$<
# Whether 100,000 pictures need more memory, or a longer time to the first, than 100: a minute.
bench-many: all
	PATH=$(CURDIR)/$(BUILD)/bin:$$PATH VQA_DATADIR=$(CURDIR)/share /usr/bin/python3 tests/bench/many.py
.PHONY: bench-cache bench-many

# Changed flags rebuild everything; unchanged ones nothing.
FLAGS := $(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS)
$(BUILD)/flags: TEXT = $(FLAGS)
$(BUILD)/datadir: TEXT = $(DATADIR)
$(BUILD)/flags $(BUILD)/datadir: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(subst ','\'',$(TEXT))' | cmp -s - $@ || printf '%s\n' '$(subst ','\'',$(TEXT))' > $@

units: $(UNITS)

test: all units
	BUILD=$(BUILD) scripts/run-tests

# A million lives of a client and its servers in a simulator (three minutes on a free processor;
# `make test` runs 2000), then ten thousand real requests through every disaster (ten minutes).
torture: all $(BUILD)/tests/unit/rpc-sim
	$(BUILD)/tests/unit/rpc-sim 1000000
	BUILD=$(BUILD) VQA_REQUESTS=10000 scripts/run-tests tests/net.bats

# Ten thousand kills of eight readers and writers of the cache (five minutes).
torture-cache: $(BUILD)/tests/unit/cache-kill
	$(BUILD)/tests/unit/cache-kill 10000

# Ten thousand photos of many formats, some broken; the batch killed a hundred times (ten minutes).
torture-batch: all
	PATH=$(CURDIR)/$(BUILD)/bin:$$PATH VQA_DATADIR=$(CURDIR)/share /usr/bin/python3 tests/torture/batch.py 10000 100

# The default model's Q-Former taught anew by qformer-train, in DEMO (20 minutes, 1 GB); PYTHON has
# the packages of scripts/demo-model/requirements.txt.
DEMO ?= $(BUILD)/demo-model
demo-model: all
	PATH=$(CURDIR)/$(BUILD)/bin:$$PATH VQA_DATADIR=$(CURDIR)/share scripts/demo-model/retrain $(DEMO)

# What each loss of its first stage is worth, as a table (a quarter of an hour of one core).
leave-one-out: all
	PATH=$(CURDIR)/$(BUILD)/bin:$$PATH VQA_DATADIR=$(CURDIR)/share scripts/demo-model/leave-one-out $(DEMO)/leave-one-out

# Every stage at full size beside the machine's limits; BENCH='--peers --python ...' beside other
# programs. Makes a checkpoint of 7.5 GB once; about 15 minutes, 45 with peers.
bench: all $(BUILD)/tests/bench/probe
	BUILD=$(BUILD) scripts/bench $(BENCH)

# What a filter elsewhere costs, beside bare sockets (ten seconds); what a second server gives (a minute);
# what hostile peers cost (two minutes).
bench-hop bench-scale bench-attack: bench-%: all
	PATH=$(CURDIR)/$(BUILD)/bin:$$PATH /usr/bin/python3 tests/bench/$*.py

# Training steps beside PyTorch's at the paper's sizes (fifteen minutes, 16 GB); PYTHON has torch,
# transformers and safetensors. TRAIN='--batch 256': memory of such a batch.
bench-train: $(BUILD)/tests/bench/train
	$(or $(PYTHON),python3) tests/bench/train.py $(TRAIN)

# Whether examples/cluster-plan.py predicts what a run on this machine takes (a minute).
bench-plan: all
	for i in $$(seq 1000); do echo $(CURDIR)/share/examples/scene-$$((i % 3 + 1)).png; done >$(BUILD)/plan.list
	PATH=$(CURDIR)/$(BUILD)/bin:$$PATH VQA_DATADIR=$(CURDIR)/share examples/cluster-plan.py --check $(BUILD)/plan.list

# A training run killed 200 times on one thread and 200 times on two, and resumed each time (five
# minutes).
torture-train: all
	BUILD=$(BUILD) VQA_KILLS=200 scripts/run-tests qformer-train

check: all
	scripts/check

INSTALLED_CMDS = $(CMD_SRC:cmd/%.c=%)
install: all
	install -d $(DESTDIR)$(BINDIR)
	install -m 755 $(CMDS) scripts/fetch-model $(DESTDIR)$(BINDIR)
	set -e; for f in $(SHARED); do d=$(DESTDIR)$(DATADIR)/$$(basename $$(dirname $$f)); \
	    install -d $$d; install -m 644 $$f $$d; done
	set -e; for p in $(MANS); do d=$(DESTDIR)$(MANDIR)/man$${p##*.}; \
	    install -d $$d; install -m 644 $$p $$d; done

uninstall:
	rm -f $(INSTALLED_CMDS:%=$(DESTDIR)$(BINDIR)/%) $(DESTDIR)$(BINDIR)/fetch-model
	rm -rf $(DESTDIR)$(DATADIR)
	set -e; for p in $(notdir $(MANS)); do rm -f $(DESTDIR)$(MANDIR)/man$${p##*.}/$$p; done

clean:
	rm -rf build build-san build-clang

FORCE:
.PHONY: all units test torture torture-cache torture-batch torture-train bench demo-model leave-one-out bench-hop bench-scale bench-attack bench-plan bench-train check install uninstall clean FORCE
.SECONDARY:

-include $(LIB_OBJ:.o=.d) $(CMD_SRC:%.c=$(BUILD)/%.d) $(UNIT_SRC:%.c=$(BUILD)/%.d)
