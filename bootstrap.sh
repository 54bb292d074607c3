#!/bin/sh
# Installs what the product needs into this folder: packages into .venv, their installer into .tools, and, where nobody
# may install system packages, text-layout libraries into var/lib. Needs Python 3.11 or newer with pip. Safe to repeat.
set -eu
cd "$(dirname "$0")"

fail() { echo "bootstrap: $*" >&2; exit 1; }

# --- Python and the installer ----------------------------------------------------------------------------------------
for candidate in "${PYTHON:-python3}" python3.11 python3.12 python3.13; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then PY=$candidate; break; fi
done
[ -n "${PY:-}" ] || fail "Python 3.11 or newer is needed; set PYTHON to its path."

# These choices of the user's pip would fight with --target.
export PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0 PIP_DISABLE_PIP_VERSION_CHECK=1
if ! .tools/bin/uv --version >/dev/null 2>&1; then
    "$PY" -m pip --version >/dev/null 2>&1 || fail "pip is missing; on Debian: apt-get install python3-pip"
    rm -rf .tools
    "$PY" -m pip install --quiet --root-user-action=ignore --target .tools uv || fail "pip could not install uv (see above)."
fi

# uv does not read pip's configuration: hand over where packages come from and whom to trust.
# (`pip config get` would look at the user's file alone; the list shows what is in force, the environment last.)
pip_setting() {
    "$PY" -m pip config list 2>/dev/null | sed -n "s/^\(global\|:env:\)\.$1='\(.*\)'\$/\2/p" | tail -n 1
}
index=$(pip_setting index-url)
[ -z "$index" ] || export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$index}"
certificates=$(pip_setting cert)
[ -z "$certificates" ] || export SSL_CERT_FILE="${SSL_CERT_FILE:-$certificates}"

# A home folder that is missing or read-only must not stop us: then the cache lives here, too.
cache=${UV_CACHE_DIR:-${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/uv}
[ -d "${HOME:-/nonexistent}" ] && mkdir -p "$cache" 2>/dev/null && [ -w "$cache" ] || cache=$PWD/.tools/cache
export UV_CACHE_DIR="$cache" UV_PYTHON_DOWNLOADS=never UV_HTTP_TIMEOUT="${UV_HTTP_TIMEOUT:-180}"

# --- Packages --------------------------------------------------------------------------------------------------------
.venv/bin/python -c '' 2>/dev/null || .tools/bin/uv venv --quiet --clear --python "$PY" .venv
.tools/bin/uv pip sync --quiet --python .venv/bin/python --require-hashes --compile-bytecode requirements.lock

# --- Text-layout libraries for invoice PDFs --------------------------------------------------------------------------
have_libraries() {
    .venv/bin/python - <<'PYTHON'
import ctypes, sys
from pathlib import Path

sys.path.insert(0, "")
from config.local_services import use_unpacked_libraries

use_unpacked_libraries(Path("var/lib"))
for name in ("gobject-2.0", "pango-1.0", "pangoft2-1.0", "harfbuzz", "harfbuzz-subset", "fontconfig"):
    file = f"lib{name}.0.dylib" if sys.platform == "darwin" else f"lib{name}.so.{1 if name == 'fontconfig' else 0}"
    try:
        ctypes.CDLL(file)
    except OSError:
        sys.exit(1)
PYTHON
}

PACKAGES="libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 libfontconfig1"

# Package lists of our own: an ordinary user may not refresh the system's, and a fresh machine may have none.
private_apt() {
    "$1" -qq -o Dir::State::Lists="$state/lists" -o Dir::Cache="$state/cache" -o Debug::NoLocking=1 "$2" $3
}

unpack_libraries() {
    state=$PWD/var/apt
    rm -rf "$state"
    mkdir -p "$state/lists/partial" "$state/cache/archives/partial" "$state/packages" var/lib
    private_apt apt-get update "" || return 1
    # Everything they need but the C library, whatever is installed: the loader prefers what the system has.
    only="--recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances"
    wanted=$(private_apt apt-cache depends "$only $PACKAGES" | grep -E '^(lib[a-z0-9]|zlib1g|fontconfig-config)' \
        | grep -vE '^lib(c6|gcc-s1|debian-installer|newt|slang|textwrap|readline|tinfo)' | sort -u)
    [ -n "$wanted" ] || return 1
    (cd "$state/packages" && private_apt apt-get download "$wanted") || return 1
    for package in "$state"/packages/*.deb; do dpkg -x "$package" var/lib || return 1; done
    rm -rf "$state" var/lib/usr/share
}

if ! have_libraries; then
    hint="Invoice PDFs need Pango and HarfBuzz, which could not be installed here; everything else works."
    if ! command -v apt-get >/dev/null; then
        echo "$hint Install pango and harfbuzz with your package manager." >&2
    elif [ "$(id -u)" = 0 ]; then
        { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $PACKAGES >/dev/null; } \
            || echo "$hint As root: apt-get install $PACKAGES" >&2
    else
        { unpack_libraries && have_libraries; } || echo "$hint As root: apt-get install $PACKAGES" >&2
    fi
fi
