# make demo: install and start the app; PORT=7861 and HOST=0.0.0.0 behind it choose another address, else the
# settings do. make test: install and run every check.
PYTHON ?= python3
BIN := .venv/bin
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check
SOURCES := app engines use_cases tests app.py
TESTS := tests/engines/test_contract.py tests  # the longest file first, so that no worker ends long after the other

.PHONY: demo setup test types behaviour format clean
.DELETE_ON_ERROR:

demo: setup
	$(BIN)/python app.py $(call chosen,HOST,--host) $(call chosen,PORT,--port) $(ARGS)

# What is written behind make, not what the environment happens to hold: shells set HOST to the machine's name.
chosen = $(if $(findstring command,$(origin $(1))),$(if $($(1)),$(2) $($(1))))

setup: .venv/exported
	@$(BIN)/python -m compileall -q app engines use_cases

test:
	@$(MAKE) --no-print-directory --jobs 2 setup .venv/tests-installed
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/lint-imports
	$(MAKE) --no-print-directory --jobs 2 types behaviour
	$(BIN)/python -m app.cli.gate

# Beside the tests, which often wait for a page or a server.
types:
	$(BIN)/mypy

behaviour:
	OMP_WAIT_POLICY=passive $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder $(TESTS)

format: .venv/tests-installed
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

clean:
	rm -rf .venv .cache .mypy_cache .pytest_cache .ruff_cache

# All is compiled here, on all cores, because each start would do it again where Python may not keep what it
# compiles; of transformers' hundreds of architectures only what we use. Some packages bring files that are not
# Python, which compileall minds and nobody needs.
UNUSED := '/tests/|/transformers/models/(?!__init__|auto|clip|encoder_decoder|gemma|siglip)'
.venv/installed: requirements.txt
	$(PYTHON) -m venv .venv
	$(PIP_INSTALL) --no-compile -r requirements.txt
	@$(BIN)/python -m compileall -q -j 0 -x $(UNUSED) .venv/lib > /dev/null || true
	touch $@

.venv/tests-installed: .venv/installed tests/requirements.txt
	$(PIP_INSTALL) -r tests/requirements.txt
	$(PIP_INSTALL) --no-deps clip_benchmark==1.6.2
	touch $@

# The server itself never imports torch: it runs graphs that are exported here, once.
.venv/exported: .venv/installed $(wildcard engines/bundled/*/config.json engines/bundled/*.py engines/onnx/*.py engines/pytorch/*.py)
	$(BIN)/python -m app.cli.build --jobs 2
	touch $@
