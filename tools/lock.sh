#!/usr/bin/env bash
# Writes requirements.lock from pyproject.toml: one exact version of everything, for Python 3.11 to 3.13.
# `tools/lock.sh` keeps the versions that still fit; `tools/lock.sh --upgrade` takes the newest ones.
# torch's CUDA packages are left out: torch is installed first and brings what its build needs.
set -euo pipefail
cd "$(dirname "$0")/.."

resolved=$(mktemp)
trap 'rm -f "$resolved"' EXIT
[ -e requirements.lock ] && cp requirements.lock "$resolved"
.venv/bin/uv pip compile "$@" --quiet --universal --python-version 3.11 --fork-strategy fewest --all-extras \
  --no-header --no-annotate pyproject.toml --output-file "$resolved"
{
  echo '# Written by `make lock` from pyproject.toml; installed without a resolver by tools/setup.sh.'
  grep -vE '^(nvidia-|cuda-|triton)' "$resolved"
} >requirements.lock
