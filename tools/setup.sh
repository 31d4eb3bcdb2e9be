#!/usr/bin/env bash
# Builds the environment that everything runs in: `make` calls this, and so may you.
#
# What it does, in order, each step only where it is needed:
#   1. Debian packages: with root by apt-get, with password-less sudo by sudo, otherwise unpacked into .venv/debian;
#      PostgreSQL is always unpacked, because installing it would start a server
#   2. a virtual environment in .venv
#   3. torch, alone, so that pip's own configuration (or TORCH_INDEX) decides which build it is
#   4. everything else, exactly as requirements.lock says and without a resolver, so nothing can replace that torch
#   5. torchaudio beside a CPU build of torch (services/setup_torchaudio.py)
#   6. the voices of the natural speech synthesiser (asr/synth/assets.py)
#   7. what the examples for Node need, for their tests
#
# Settings: PYTHON (default python3), TORCH_INDEX (a package index that has the torch build you want).
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python3}
VENV=$PWD/.venv
STAMP=$VENV/.complete
SPEECH_PACKAGES=(espeak-ng flite asterisk-core-sounds-en-g722)

say() { printf '== %s\n' "$*" >&2; }
warn() { printf 'warning: %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }
locked() { sed -n "s/^$1==\([^ ;]*\).*/\1/p" requirements.lock; }

fingerprint() {
  { cat requirements.lock pyproject.toml tools/setup.sh docs/examples/node/package.json; echo "${TORCH_INDEX:-}"; "$PYTHON" --version; } | sha256sum | cut -d' ' -f1
}

check_python() {
  command -v "$PYTHON" >/dev/null || die "there is no $PYTHON here; install Python 3.11 to 3.13 or say which: make PYTHON=/path/to/python3.12"
  "$PYTHON" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' ||
    die "$PYTHON is $("$PYTHON" --version 2>&1), Dengar needs Python 3.11 to 3.13; say which: make PYTHON=python3.12"
}

# --- 1. Debian packages -------------------------------------------------------------------------------------------

is_installed() { dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed' || [ -e "$VENV/debian/.has/$1" ]; }

# A file that cannot be told by a package name: Python may come from Debian or from elsewhere.
has_headers() { [ -e "$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ]; }
has_postgresql() { compgen -G "/usr/lib/postgresql/*/bin/postgres" >/dev/null || compgen -G "$VENV/debian/usr/lib/postgresql/*/bin/postgres" >/dev/null; }
has_pip() { "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null; }

debian_packages() {
  command -v apt-get >/dev/null || { warn "this is no Debian: install espeak-ng and flite (and a C++ compiler) yourself"; return; }
  local version missing=()
  version=$("$PYTHON" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
  for package in "${SPEECH_PACKAGES[@]}"; do is_installed "$package" || missing+=("$package"); done
  has_pip || missing+=("$version-venv")
  # Some packages come as source only, kenlm for one.
  command -v c++ >/dev/null || missing+=(g++)
  command -v make >/dev/null || missing+=(make)
  has_headers || missing+=("$version-dev")
  has_postgresql || unpack postgresql # the tests start servers of their own
  [ ${#missing[@]} -eq 0 ] && return
  if [ "$(id -u)" = 0 ]; then install_as "" "${missing[@]}"
  elif sudo -n true 2>/dev/null; then install_as sudo "${missing[@]}"
  else unpack "${missing[@]}"; fi
}

install_as() {
  local sudo=$1; shift
  say "installing Debian packages: $*"
  $sudo apt-get update -qq || warn "apt-get update failed; going on with the lists that are there"
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null ||
    warn "these Debian packages could not be installed: $*; 'dengar doctor' says what does not work without them"
}

# Without root, or to install nothing: apt's lists and downloads go to a folder of ours, and dpkg unpacks into the environment.
unpack() {
  say "unpacking Debian packages into .venv/debian: $*"
  local apt=$VENV/debian/.apt packages left=()
  mkdir -p "$apt"/{lists,archives}/partial "$VENV/debian/.has"
  local options=(-o "Dir::State::Lists=$apt/lists" -o "Dir::Cache=$apt" -o Debug::NoLocking=1 -o APT::Sandbox::User=)
  apt-get "${options[@]}" update -qq 2>/dev/null || warn "apt-get update failed; going on with the lists that are there"
  for package in "$@"; do
    case $package in
      g++) continue ;; # see without_root_compilers
      *-dev) packages=lib$package ;; # the headers alone, not the C library's
      *) packages=$(apt-get "${options[@]}" -s --no-install-recommends install "$package" 2>/dev/null | awk '$1 == "Inst" {print $2}') ;;
    esac
    if [ -n "$packages" ] && (cd "$apt/archives" && apt-get "${options[@]}" download -qq $packages >/dev/null 2>&1); then
      for file in "$apt"/archives/*.deb; do dpkg -x "$file" "$VENV/debian" && rm "$file"; done
      touch "$VENV/debian/.has/$package"
    else
      left+=("$package")
    fi
  done
  [ ${#left[@]} -eq 0 ] || warn "could not be had without root: ${left[*]}; ask for: apt-get install ${left[*]}"
}

# --- 2. to 6. -----------------------------------------------------------------------------------------------------

make_venv() {
  "$VENV/bin/python" -m pip --version >/dev/null 2>&1 && return
  say "creating .venv with $("$PYTHON" --version)"
  if has_pip; then "$PYTHON" -m venv "$VENV"; return; fi
  local wheel  # pip's own wheel, from the unpacked python3-venv
  wheel=$(ls "$VENV"/debian/usr/share/python-wheels/pip-*.whl 2>/dev/null | head -1)
  [ -n "$wheel" ] || die "$PYTHON has no ensurepip and python3-venv could not be had; ask for: apt-get install python3-venv"
  "$PYTHON" -m venv --without-pip "$VENV"
  "$VENV/bin/python" "$wheel/pip" install -q --no-index "$wheel"
}

pip() { "$VENV/bin/python" -m pip --disable-pip-version-check "$@" 2> >(grep -v 'is ignored: it is neither a file' >&2); }

install_torch() {
  local wanted; wanted=$(locked torch)
  "$VENV/bin/python" -c "import sys; from importlib.metadata import version; sys.exit(version('torch').split('+')[0] != '$wanted')" 2>/dev/null && return
  say "installing torch $wanted"
  pip install -q ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "torch==$wanted"
}

install_locked() {
  say "installing $(grep -c == requirements.lock) packages as locked"
  without_root_compilers
  # uv does in a third of the time what pip does; it reads no configuration of pip's, so pip stands behind it.
  if pip install -q "uv==$(locked uv)" &&
    UV_DEFAULT_INDEX=${UV_DEFAULT_INDEX:-${PIP_INDEX_URL:-}} "$VENV/bin/uv" pip install -q --python "$VENV/bin/python" --no-deps -r requirements.lock; then :
  else
    warn "uv could not install the lock file; using pip, which takes longer"
    pip install -q --no-deps -r requirements.lock
  fi
  pip install -q --no-deps --no-build-isolation --no-index -e .
}

# Without root and without a compiler: the one that comes as a Python package, and unpacked headers.
without_root_compilers() {
  if ! has_headers && [ -d "$VENV/debian/usr/include" ]; then
    CPATH=$(ls -d "$VENV"/debian/usr/include/python3.* | head -1):$VENV/debian/usr/include; export CPATH
  fi
  command -v c++ >/dev/null && return
  pip install -q --target "$VENV/zig" ziglang || { warn "there is no C++ compiler: ask for: apt-get install g++"; return; }
  for tool in cc c++; do
    printf '#!/bin/sh\nexec env PYTHONPATH="%s" "%s" -m ziglang %s "$@"\n' "$VENV/zig" "$VENV/bin/python" "$tool" >"$VENV/bin/zig-$tool"
    chmod +x "$VENV/bin/zig-$tool"
  done
  # Not as Python was linked: this linker lacks some of those options.
  export CC=$VENV/bin/zig-cc CXX=$VENV/bin/zig-c++ LDSHARED="$VENV/bin/zig-c++ -shared"
}

install_voices() {
  "$VENV/bin/dengar" data synth --install >/dev/null ||
    warn "the natural voices are not installed; espeak-ng and flite speak in their place (dengar data synth --install tries again)"
}

# In .venv/node; npm runs no scripts of packages.
install_node_packages() {
  mkdir -p "$VENV/node" && cp docs/examples/node/package.json "$VENV/node/"
  (cd "$VENV/node" && PATH=$VENV/bin:$PATH "$VENV/bin/npm" install --silent --ignore-scripts --no-audit --no-fund --no-package-lock >/dev/null) ||
    warn "the packages of docs/examples/node could not be installed; their tests are skipped"
}

main() {
  check_python
  local wanted; wanted=$(fingerprint)
  if [ "$(cat "$STAMP" 2>/dev/null)" = "$wanted" ]; then touch "$STAMP"; return; fi
  rm -f "$STAMP"
  local started=$SECONDS
  debian_packages
  make_venv
  install_torch
  install_locked
  "$VENV/bin/python" -m services.setup_torchaudio >&2
  install_voices
  install_node_packages
  echo "$wanted" >"$STAMP"
  say "set up in $((SECONDS - started)) s"
}

main "$@"
