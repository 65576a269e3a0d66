# `make demo` and `make test` each start from a bare clone: they make .venv and install what they need.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin
# torch's CPU build is enough for everything here and spares gigabytes of CUDA; another one is used where it is there.
TORCH ?= torch==2.13.0

.DEFAULT_GOAL := help
.PHONY: help system-deps install demo test bench lint format clean

help:
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

# The stamp is newer than setup.cfg once everything that it names is installed.
$(VENV)/installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(RUN)/pip install --quiet --upgrade pip
	$(RUN)/python -c 'import torch' 2>/dev/null || $(RUN)/pip install --quiet '$(TORCH)' || \
		$(RUN)/pip install --quiet torch
	$(RUN)/pip install --quiet --editable '.[train,int8,rtx,plc,sign,web,test]'
	$(RUN)/pip install --quiet --editable '.[genicam]' || \
		echo 'left out: GStreamer and GigE Vision cameras, whose bindings need what `make system-deps` installs'
	@touch $@

# The real peers that the tests talk to: a camera simulator, an RTSP server, a broker, a Modbus server, a browser, systemd, Prometheus's checker.
# Node.js is left alone where another source than Debian has brought it.
SYSTEM_DEPS := aravis-tools gir1.2-aravis-0.8 libgirepository1.0-dev libcairo2-dev pkg-config \
	gir1.2-gst-rtsp-server-1.0 gir1.2-gst-plugins-base-1.0 gstreamer1.0-tools gstreamer1.0-libav \
	gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly \
	ffmpeg mosquitto openssl libmodbus-dev mbpoll gcc libc6-dev chromium systemd util-linux iproute2 \
	prometheus
ROOT := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

system-deps: ## install Debian's packages that the tests use (as root, or with sudo)
	$(ROOT) apt-get update -qq
	DEBIAN_FRONTEND=noninteractive $(ROOT) apt-get install -y -qq --no-install-recommends $(SYSTEM_DEPS) \
		$(shell command -v npm >/dev/null || echo nodejs npm) >/dev/null

install: $(VENV)/installed ## make .venv with everything for development

demo: install ## train, calibrate and run a daemon on drawn parts; writes demo-out/report.html
	$(RUN)/edge-inspect demo

# Two at a time, for many tests wait for a peer; a file's tests stay together, because they may share one.
test: install ## run the test suite
	$(RUN)/pytest -n 2 --dist loadfile

bench: install ## measure speed with the quick benchmarks and write docs/performance.md anew
	$(RUN)/python benchmarks/bench_fps.py --quick --json docs/performance/fps.json
	$(RUN)/python benchmarks/bench_latency.py --quick --precision auto int8 --json docs/performance/latency.json
	$(RUN)/python benchmarks/bench_training.py --quick --json docs/performance/training.json
	$(RUN)/python benchmarks/performance_page.py

lint: install ## ruff and mypy
	$(RUN)/ruff check
	$(RUN)/ruff format --check
	$(RUN)/mypy

format: install ## let ruff repair what it can
	$(RUN)/ruff check --fix
	$(RUN)/ruff format

clean: ## remove .venv and everything that was built
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .node demo-out
