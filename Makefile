# Needs: make, Python 3.11 to 3.13 with its venv module (Debian: python3-venv), a package index. Nothing else by hand.
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
SHELL := /bin/bash

PORT ?= 8080
DEMO ?= 1
ARGS ?=
ONLY ?=
DURATION_S ?= 60
SEED := $(or $(SEED),$(shell date +%s))
export PORT DEMO

python := .venv/bin/python

.PHONY: help run demo test check bench soak lock clean runtime dev browser load
help:
	@echo 'make run              the service with sandbox rails on 127.0.0.1:$(PORT) (PORT=n; DEMO=0: no buyers are played)'
	@echo 'make demo             buyers from several countries top up over every rail; a table; 0 only if the books are right'
	@echo 'make test             lint, types, import contracts and every test, on SQLite and on PostgreSQL'
	@echo 'make check            lint, types, import contracts'
	@echo 'make bench            the benchmarks, as a table and in var/bench.json (ONLY=name)'
	@echo 'make soak             long fault and fuzz suites (DURATION_S=60 SEED=n; the same seed replays)'
	@echo 'make lock             both lock files anew from pyproject.toml (UPGRADE=1: newest versions)'
	@echo 'make clean            removes .venv and var'

run: runtime
	@exec .venv/bin/crossrail serve --demo

demo: runtime
	@exec .venv/bin/crossrail demo $(ARGS)

test: dev browser
	@exec $(python) -m tests.support.suite

check: dev
	@exec $(python) -m tests.support.suite --checks-only

bench: dev load
	@exec $(python) -m bench '$(ONLY)'

soak: dev
	@echo 'soak: DURATION_S=$(DURATION_S) SEED=$(SEED)'
	@DURATION_S='$(DURATION_S)' SEED='$(SEED)' exec $(python) -m tests.support.soak

clean:
	rm -rf .venv var

# --- .venv ---------------------------------------------------------------------------------------------------------
# A lock is installed again when its text is no longer the text that was installed. The development lock holds the
# runtime's pins too (tests/tidy proves it), so whoever has it need not install the other. Every package is installed
# by hash, the build backend among them, and then the project itself, editable and without looking for anything else.

define install_script
lock=requirements$1.lock
timed() { label=$1; shift; started=$(date +%s); "$@" && echo "  $label: $(($(date +%s) - started)) s"; }
fits() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; }
installed() { [ -x .venv/bin/crossrail ] && cmp -s pyproject.toml .venv/installed/pyproject.toml \
  && [ "$(cat .venv/installed/place 2>/dev/null)" = "$PWD" ] && fits .venv/bin/python; }
if installed && { cmp -s $lock .venv/installed/$lock || cmp -s requirements-dev.lock .venv/installed/requirements-dev.lock; }; then exit 0; fi
uv=$(command -v uv || true)

find_python() {
  near=''
  for name in python3.13 python3.12 python3.11 python3; do
    fits "$name" || continue
    near=$name
    if [ -n "$uv" ] || "$name" -c 'import ensurepip, venv' 2>/dev/null; then echo "$name"; return; fi
  done
  if [ -n "$near" ]; then echo "$near cannot make a virtual environment: install the Debian package python3-venv" >&2
  else echo 'no Python 3.11, 3.12 or 3.13 found: install one (Debian: apt-get install python3 python3-venv)' >&2; fi
  return 1
}
make_venv() { if [ -n "$uv" ]; then uv venv -q --no-python-downloads --python "$(command -v "$1")" .venv; else "$1" -m venv .venv; fi; }
pip_install() {
  if [ -n "$uv" ]; then uv pip install -q --python .venv/bin/python "$@"
  else .venv/bin/python -m pip install -q --disable-pip-version-check "$@"; fi
}

# Scripts in .venv name the folder they were made in: a project that was moved gets a new one.
if [ -d .venv ] && { ! fits .venv/bin/python || [ "$(cat .venv/installed/place 2>/dev/null || pwd)" != "$PWD" ]; }; then rm -rf .venv; fi
if [ ! -d .venv ]; then
  name=$(find_python)
  timed ".venv with $("$name" --version)" make_venv "$name" || { rm -rf .venv; exit 1; }
fi
[ -n "$uv" ] || .venv/bin/python -m pip --version >/dev/null 2>&1 || .venv/bin/python -m ensurepip >/dev/null
rm -rf .venv/installed
timed "$lock" pip_install --no-deps --require-hashes -r $lock
timed 'the project itself' pip_install --no-deps --no-build-isolation -e .
mkdir -p .venv/installed
cp $lock pyproject.toml .venv/installed/
echo "$PWD" > .venv/installed/place
endef
runtime dev: export script = $(value install_script)

runtime:
	@bash -euc "$$script" install ''

dev:
	@bash -euc "$$script" install -dev

# --- the browser that the page's tests drive -------------------------------------------------------------------------

define browser_script
if [ -x /usr/bin/chromium ]; then exit 0; fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo '  browser tests will be skipped: they need the Debian package chromium'; exit 0
fi
mkdir -p var
started=$(date +%s)
fetch() { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends chromium; }
fetch >var/apt.log 2>&1 </dev/null || fetch >var/apt.log 2>&1 </dev/null || { tail -n 5 var/apt.log; echo 'could not install the Debian package chromium (var/apt.log)'; exit 1; }
echo "  chromium from Debian: $(($(date +%s) - started)) s"
endef
browser: export script = $(value browser_script)

browser:
	@bash -euc "$$script"

# --- the load generator of the benchmarks over HTTP --------------------------------------------------------------------

define load_script
if command -v wrk >/dev/null; then exit 0; fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo '  benchmarks over HTTP need the Debian package wrk'; exit 0
fi
mkdir -p var
{ apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends wrk; } >var/apt.log 2>&1 </dev/null \
  || { tail -n 5 var/apt.log; echo 'could not install the Debian package wrk (var/apt.log)'; exit 1; }
endef
load: export script = $(value load_script)

load:
	@bash -euc "$$script"

# --- lock files: hashes, no addresses --------------------------------------------------------------------------------

define lock_script
if ! command -v uv >/dev/null; then
  [ -x var/uv/bin/uv ] || { python3 -m venv var/uv && var/uv/bin/python -m pip install -q --disable-pip-version-check uv; }
  PATH=$PWD/var/uv/bin:$PATH
fi
pin() {
  # The build backend and what it needs for an editable install: see .venv above.
  printf 'hatchling>=1.27\neditables\n' | uv pip compile pyproject.toml - --universal --generate-hashes --no-emit-index-url \
    --no-annotate --python-version 3.11 --custom-compile-command 'make lock' -q ${UPGRADE:+--upgrade} "$@"
}
pin --group dev -o requirements-dev.lock
pin -c requirements-dev.lock -o requirements.lock
endef
lock: export script = $(value lock_script)

lock:
	@UPGRADE='$(UPGRADE)' bash -euc "$$script"
