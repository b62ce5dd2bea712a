# The commands of the project. `make help` lists them; each first runs scripts/doctor.sh, which installs what it needs.
.DEFAULT_GOAL := help
.PHONY: help demo test test-vm test-pi test-arm torture check bless ui package wheel bench compare soak fuzz clean doctor-%
MAKEFLAGS += --no-print-directory

# The port, data folder and camera source of `make demo`: testcard, a folder of JPEG files, /dev/video0.
PORT ?= 8000
IOTPI_DATA ?= iotpi-data
CAMERA ?= testcard
export PORT
V4L := $(filter /dev/%,$(CAMERA))

PROGRAMS := --package iotpi-hub-app --package iotpi-modules --package iotpi-demo
DASHBOARD := iotpi-hub/dashboard/index.html
DASHBOARD_SOURCES := $(shell find frontend/src frontend/static -type f 2>/dev/null) \
	$(wildcard frontend/*.js frontend/*.ts frontend/*.json)

help: ## Lists the commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 15

doctor-%:
	@scripts/doctor.sh $*

demo: doctor-demo doctor-port $(if $(V4L),doctor-v4l) $(DASHBOARD) ## Builds everything and runs a hub with simulated modules; options: PORT, IOTPI_DATA, CAMERA
	@cargo build --release --locked $(PROGRAMS) $(if $(V4L),--features iotpi-modules/v4l)
	@exec target/release/iotpi-demo --listen 127.0.0.1:$(PORT) --data '$(IOTPI_DATA)' --camera '$(CAMERA)'

test: doctor-test $(DASHBOARD) ## Runs every test of every part; PARTS="rust python" selects some
	@scripts/test.sh $(PARTS)

test-vm: doctor-test-vm ## Tests the V4L2 camera with a real kernel, in a virtual machine; two minutes
	@scripts/test-vm.sh

test-pi: doctor-test-pi ## Tests a module on an emulated Raspberry Pi 3, with rppal; a few minutes
	@scripts/test-pi.sh

test-arm: doctor-test-arm ## Runs tests of the core, the drivers and the store as Arm programs; some minutes
	@scripts/test-arm.sh

torture: doctor-torture $(DASHBOARD) ## Runs the stress tests at full size, a quarter of an hour or more; PARTS="hub-kills power-cuts" selects some
	@scripts/torture.sh $(PARTS)

check: doctor-check $(DASHBOARD) ## Runs every static check: formatting, lints, documentation, licences, layers
	@scripts/check.sh

bless: doctor-bless ## Regenerates the golden files: openapi.json, the live protocol, the config, the dashboard's types, the public Rust interface
	BLESS=1 cargo test --quiet --locked --package iotpi-hub --test it golden
	cd frontend && npm run --silent api
	scripts/public-api.sh --bless

ui: doctor-ui $(DASHBOARD) ## Builds the dashboard if its sources changed

$(DASHBOARD): $(DASHBOARD_SOURCES)
	@scripts/doctor.sh ui
	cd frontend && npm run --silent build
	rm -rf iotpi-hub/dashboard && cp -r frontend/build iotpi-hub/dashboard
	@touch $@

package: doctor-check $(DASHBOARD) ## Packs the crates, builds each from its package and installs the programs; some minutes
	@scripts/package.sh --verify

wheel: doctor-wheel ## Builds the Python package for x86_64 and aarch64 into iotpi-py/dist; ARCH="aarch64" selects one
	@scripts/wheel.sh $(ARCH)

bench: doctor-bench ## Runs the benches
	cargo bench --locked --package iotpi-benches

compare: doctor-compare $(DASHBOARD) ## Compares the camera path with other servers, each in its own process; PARTS="requests ingest push fanout stalled acknowledged memory"
	@benches/compare/compare.sh $(PARTS)

soak: doctor-bench ## Runs a hub under a steady load for SECS seconds (600) and reports its memory use
	@cargo build --quiet --release --locked --package iotpi-hub-app
	@cargo build --quiet --release --locked --package iotpi-benches --bin hub-load
	@target/release/hub-load soak --hub target/release/iotpi-hub --secs $(or $(SECS),600)

fuzz: doctor-fuzz ## Fuzzes the parsers of frames, streams, manifests and requests, SECS seconds for each target (600)
	@scripts/fuzz.sh

clean: ## Removes the build output; data folders stay
	cargo clean
	rm -rf fuzz/target fuzz/artifacts
	rm -rf frontend/build frontend/.svelte-kit frontend/node_modules iotpi-hub/dashboard iotpi-py/dist .venv benches/compare/.venv
