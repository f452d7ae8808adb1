# SPDX-License-Identifier: Apache-2.0
# Go and make are enough to build; tests and the benchmark run as root and install what they need (test/install.sh).

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
BENCH   ?=
SEED    ?= 1

.DEFAULT_GOAL := help

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

build: ## build bin/leno (needs no clang: the kernel half is committed)
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-X main.version=$(VERSION)' -o bin/leno ./cmd/leno

demo: build ## move a traffic split live, under load, and prove it (HOLD=1 keeps it running)
	bin/leno demo $(if $(HOLD),--hold)

test: ## the tests of every day (root; about 5 minutes)
	test/install.sh $(TEST_PACKAGES)
	$(GO) test -timeout 9m -p 2 ./...

test-full: ## everything: real programs, faults, Envoy again, race detector, stock kernels, the demo (root)
	test/install.sh $(TEST_PACKAGES) $(FULL_PACKAGES) envoy
	$(GO) test -timeout 30m -p 1 -tags full ./test/...
	$(GO) test -timeout 15m -p 2 -race ./internal/proxy/... ./internal/upstream ./internal/xds ./internal/table ./internal/agent
	$(MAKE) demo
	test/kernels/run.sh 6.1 6.12

soak: ## generated configurations through Envoy and leno, then random faults under load; writes test/soak.json (root; about half an hour)
	test/install.sh $(TEST_PACKAGES) envoy
	mkdir -p bin
	$(GO) test -timeout 60m -tags full ./test/oracle -run TestGenerated -generate.seed $(SEED) -generate.raw 2000 -generate.configs 1000 -generate.report $(CURDIR)/bin/generated.json
	$(GO) test -timeout 30m ./test/faults -run TestSoak -soak.seed $(SEED) -soak.seconds 610 -soak.report $(CURDIR)/bin/faults.json
	$(GO) run ./test/soak bin/generated.json bin/faults.json > bin/soak.json
	mv bin/soak.json test/soak.json

bench: ## compare with the bare connection, nginx, HAProxy and Envoy (root; BENCH=--quick ends within a minute)
	test/install.sh wrk nginx-light haproxy envoy
	$(GO) run ./bench $(BENCH)

generate: ## compile the kernel half and write all generated files (needs clang-19)
	$(GO) generate ./...

generate-check: ## fail if a generated file is not what its source gives
	test/install.sh clang-19 llvm-19 libbpf-dev
	$(MAKE) generate
	git diff --exit-code --stat -- internal/kern docs/fields.md

lint: ## gofmt, vet, staticcheck
	@test -z "$$(gofmt -l .)" || { echo "not gofmt'ed:"; gofmt -l .; exit 1; }
	$(GO) vet -tags full ./...
	$(GO) tool staticcheck -tags full ./...

fuzz: ## fuzz the decoder and both HTTP readers, each for FUZZTIME (default 60s)
	$(GO) test ./internal/xds -run '^$$' -fuzz FuzzDecode -fuzztime $(or $(FUZZTIME),60s)
	$(GO) test ./internal/proxy/http1 -run '^$$' -fuzz FuzzRequest -fuzztime $(or $(FUZZTIME),60s)
	$(GO) test ./internal/proxy/http1 -run '^$$' -fuzz FuzzResponse -fuzztime $(or $(FUZZTIME),60s)

# Debian packages that the tests use.
TEST_PACKAGES = iproute2 curl
FULL_PACKAGES = nginx-light wrk redis-server postgresql iperf3 openssh-server haproxy qemu-system-x86 busybox-static cpio

.PHONY: help build demo test test-full soak bench generate generate-check lint fuzz
