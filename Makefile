# `make help` lists the targets. Everything that is made lands in build/.

VERSION ?= $(or $(patsubst v%,%,$(shell git describe --tags --match 'v*' 2>/dev/null)),$(shell sed -n 's/^## \[\([0-9][^]]*\)\].*/\1/p;T;q' CHANGELOG.md))
# The same as dpkg, opkg and bitbake order it: 1.2.0~rc1 of the tag v1.2.0-rc1.
DEB_VERSION = $(shell packaging/release/version '$(VERSION)')
FUZZTIME ?= 10s
FUZZTIME_CORE ?= $(FUZZTIME)
# Packages whose tests run under the race detector, where there is a C compiler for it.
CONCURRENT = ./agent/... ./conf/... ./mqtt/... ./ota/... ./systemd/...
RACE := $(if $(shell command -v $(or $(CC),gcc) 2>/dev/null),-race)
# Go 1.25 and 1.26 run the timers of a synctest bubble on several processors with one race context, and
# crash (golang/go 78156). The detector goes by happens-before and finds as much on one processor.
CPU1 = -cpu 1

export CGO_ENABLED = 0
# net/http's HTTP/2 stays out: the agent speaks HTTP/1.1 alone, and 0.5 MB of flash are worth a tag.
# Nothing is inlined: what is hot is assembly anyway, and it saves 0.7 MB of flash and as much memory.
BUILT ?= $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null))
LDFLAGS = -s -w -buildid= -X main.version=$(VERSION) -X main.built=$(BUILT)
GOBUILD = go build -trimpath -buildvcs=false -tags nethttpomithttp2 -gcflags=all=-l -ldflags '$(LDFLAGS)'
# The four targets as DIRECTORY:GOARCH:GOARM.
TARGETS = amd64:amd64: arm64:arm64: armv7:arm:$(ARMHF_GOARM) armv5:arm:5
# What .deb armhf means: 7 is Debian's, 6 runs on a first Raspberry Pi too.
ARMHF_GOARM ?= 7
# 9 MB were asked for; the parts that came since do not fit. What is not worth its bytes shows here.
MAX_ARMV7 = 10100000

.PHONY: help build demo test race year fuzz mutation bench lint arm cross deb reproducible dist release man integration captures scenarios test-datafiles test-system test-ota test-console clock1970 old-kernel clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' Makefile

build: ## the agent and the simulator for this machine
	$(GOBUILD) -o build/ ./cmd/spoke-zone-agent ./cmd/spoke-zone-sim

demo: build ## a gateway's whole day against the simulator, in under a minute
	build/spoke-zone-sim demo --agent build/spoke-zone-agent $(ARGS)

test: ## every test, the concurrent packages with the race detector
	go test $$(go list ./... | grep -vxF "$$(go list $(CONCURRENT))")
	CGO_ENABLED=$(if $(RACE),1,0) go test -timeout 15m $(RACE) $(CPU1) $(CONCURRENT)
	go test -run 'TestModel|Survives|Torture|ThePowerFails' ./ota ./ota/install # in full: less of it with the race detector
	go test -run 'TestLifeAt|TestYear$$|TestFleet' ./agent/account # so here: 90 days at each cloud, a year of 200 devices, 10,000 after an outage
	@test -n "$(RACE)" || echo "make test: no C compiler here: ran WITHOUT the race detector"

race: ## every test with the race detector
	CGO_ENABLED=1 go test -race $(CPU1) ./...

year: ## a year of 1,000 simulated devices (minutes); SEED=n repeats one
	SEED=$(SEED) go test -tags long -timeout 30m -run 'TestYear$$' -v ./agent/account

fuzz: ## every fuzz target for FUZZTIME (10s) each
	FUZZTIME=$(FUZZTIME) FUZZTIME_CORE=$(FUZZTIME_CORE) .ci/fuzz

mutation: ## takes out each fsync, rename and probe of the updates: a test must fail (20 minutes; MUTATIONS=quick: one of each)
	MUTATIONS=$(MUTATIONS) go test -tags mutation -count=1 -timeout 90m -run 'TestMutations$$' -v ./ota

bench: build ## side by side with curl, openssl and mosquitto_sub; rewrites docs/benchmarks.md (ONLY=idle,tokens: these sections)
	test/bench/run $(if $(ONLY),--only $(ONLY))

lint: build/tools/.built ## vet, gofmt, staticcheck, shellcheck, mandoc and govulncheck
	.ci/lint

arm: ## static binaries for amd64, arm64, armv7 and armv5, and their sizes
	@$(foreach t,$(TARGETS),$(call cross_build,$(subst :, ,$(t)))) :
	@stat -c '%9s  %n' build/amd64/* build/arm64/* build/armv7/* build/armv5/*
	@test $$(stat -c %s build/armv7/spoke-zone-agent) -le $(MAX_ARMV7) || { echo "armv7 agent is larger than $(MAX_ARMV7) bytes" >&2; exit 1; }
# The pages of 32-bit ARM have 4 KiB. The linker would leave room for those of 64 KiB, up to three times.
cross_build = GOOS=linux GOARCH=$(word 2,$(1)) GOARM=$(word 3,$(1)) $(GOBUILD) $(if $(filter arm,$(word 2,$(1))),-ldflags '$(LDFLAGS) -R 4096') -o build/$(word 1,$(1))/ ./cmd/spoke-zone-agent &&

cross: arm ## run each of the four under qemu-user: version and check
	test/cross $(VERSION)

deb: build arm build/tools/.built ## .deb and .ipk for amd64, arm64, armhf and armel, bills of materials, SHA256SUMS
	packaging/deb/build $(VERSION)

reproducible: deb ## build the packages once more elsewhere and compare
	.ci/reproducible $(VERSION)

dist: ## the source with vendor/ as a reproducible archive, for Yocto
	packaging/release/dist $(DEB_VERSION)

release: ## everything from the tag of this commit, signed: KEY=minisign secret key
	packaging/release/release

man: ## the man pages, docs/settings.md and the status's schema, from the code
	go run ./docs/man

integration: build ## the built agent against Mosquitto and nginx over TLS, against 200 kill -9, and updated without systemd
	go test -tags integration -count=1 -p 1 -v ./test/integration ./test/kill ./test/watch ./test/datafiles

test-datafiles: build ## data files in full, half an hour: 2,000 through kills and errors, logs rotated for a minute, a drop box of 10,000
	DATA_FILES=$(or $(DATA_FILES),2000) KILLS=$(or $(KILLS),5000) ROTATIONS=$(or $(ROTATIONS),60) HOSTILE_FILES=$(or $(HOSTILE_FILES),10000) \
		go test -tags integration -count=1 -timeout 90m -v ./test/datafiles

captures: build ## docs/screens.md, from a terminal of 80 and of 40 columns (tmux)
	test/captures/run

scenarios: build ## the shipped scenarios, three at a time (docs/scenarios.md)
	go test -tags integration -count=1 -parallel 3 -timeout 20m -v ./test/scenarios

test-system: deb ## the .deb under a real systemd in a container (root, Debian), and MESSAGES=10000 through kills of broker and agent, and the scenarios
	test/system/run $(DEB_VERSION)
	$(MAKE) scenarios
	MESSAGES=$(or $(MESSAGES),10000) go test -tags integration -count=1 -v -run TestNothingIsLost ./test/integration

test-ota: build ## updates with dpkg, RAUC and SWUpdate, killed, and power cuts; OTA_KILLS=60 OTA_CUTS=50 are the full size
	test/ota/run

test-console: build ## the simulator's console in headless Chromium, with a real agent; pictures in build/console
	go -C test/browser test -count=1 -timeout 20m -v ./...

clock1970: build ## the agent in a guest whose hardware clock says 1970 (qemu)
	test/system/guest bookworm amd64 1970

old-kernel: build arm ## the agent in an ARM guest under Debian 11's kernel, which has no Landlock (qemu); KERNEL=FILE: under that one
	KERNEL=$(KERNEL) test/system/guest bullseye armhf

clean: ## remove build/
	rm -rf build

build/tools/.built: packaging/tools/go.mod packaging/tools/go.sum packaging/tools/sbom/main.go
	GOBIN=$(CURDIR)/build/tools go -C packaging/tools install tool
	@touch $@
