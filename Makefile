# make demo: the main job on real input. make demo-edge: two devices, their hub and a rollout.
# make demo-fpga: a model compiled for an FPGA, on a board that is simulated.
# make fpga-ecp5: the engine placed and routed on an ECP5 (needs yosys; five minutes).
# make test: the tests. All set themselves up.
PY := .venv/bin/python
JOBS ?= 2

.PHONY: demo demo-edge demo-fpga test check bench bench-deployments bench-fpga bench-fpga-long fpga-ecp5 setup lock clean

demo:
	@scripts/setup demo
	@$(PY) examples/digits/demo.py

demo-edge:
	@scripts/setup demo
	@$(PY) examples/edge/demo.py

demo-fpga:
	@scripts/setup demo
	@$(PY) examples/fpga/demo.py

test:
	@scripts/setup dev
	@$(PY) -m pytest -n $(JOBS) --dist loadgroup $(ARGS)

check:
	@scripts/setup dev
	@scripts/check

bench:
	@scripts/setup dev
	@$(PY) -m benchmarks $(ARGS)

bench-deployments:
	@scripts/setup dev
	@$(PY) -m benchmarks.deployments $(ARGS)

bench-fpga:
	@scripts/setup dev
	@$(PY) -m benchmarks.fpga.networks $(ARGS)
	@$(PY) -m benchmarks.fpga.walltime
	@$(PY) -m benchmarks.fpga.faults
	@$(PY) -m benchmarks.fpga.hls4ml

bench-fpga-long:
	@scripts/setup dev
	@nice -n 19 $(PY) -m benchmarks.fpga.million $(ARGS)

fpga-ecp5:
	@scripts/setup dev
	@scripts/ecp5
	@PATH="$(CURDIR)/.venv-ecp5/bin:$$PATH" $(PY) -m fpga.synthesis route

setup:
	@scripts/setup dev

lock:
	@scripts/setup dev
	@scripts/lock $(ARGS)

clean:
	rm -rf .demo build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
