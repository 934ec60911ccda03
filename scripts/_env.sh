# Sourced by the other scripts: the checkout's virtual environment, made and filled on first use.
#
#   ensure_env run|test|dev    afterwards $PYTHON and $BIN are the environment's, and the working folder is the checkout
#
# ARCHSEARCH_VENV names another environment than .venv in the checkout. A torch that is already in it and that
# constraints.txt allows is kept, so a build for another device can be installed beforehand.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
VENV="${ARCHSEARCH_VENV:-$ROOT/.venv}"
BIN="$VENV/bin"
PYTHON="$BIN/python"

say() { printf '%s\n' "$*" >&2; }
fail() { say "error: $*"; exit 1; }

# Whether a Python can be started and is new enough.
is_recent() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
    local candidate
    for candidate in python3 python3.13 python3.12 python3.11; do
        if is_recent "$candidate"; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    fail "archsearch needs Python 3.11 or later, but found $(python3 --version 2>&1 || true) and no python3.11, python3.12 or python3.13."
}

make_venv() {
    local python
    python="$(find_python)"
    say "Making $VENV with $("$python" --version) ..."
    "$python" -m venv "$VENV" || {
        rm -rf "$VENV"
        fail "$python cannot make a virtual environment; on Debian and Ubuntu, install the package python3-venv."
    }
}

# What an installation depends on, in one word.
fingerprint() {
    "$PYTHON" - "$ROOT/pyproject.toml" "$ROOT/constraints.txt" <<'PY'
import hashlib, pathlib, sys
print(hashlib.sha256(b"".join(pathlib.Path(p).read_bytes() for p in sys.argv[1:]) + sys.version.encode()).hexdigest())
PY
}

pip_install() {
    # Of the name of a folder, which an editable install cannot help having.
    PYTHONWARNINGS="ignore:Editable installation" "$PYTHON" -m pip install --quiet --disable-pip-version-check -c "$ROOT/constraints.txt" "$@"
}

ensure_env() {
    local extras="$1" now covered
    cd "$ROOT"
    [ -x "$PYTHON" ] || make_venv
    is_recent "$PYTHON" || fail "$VENV must hold Python 3.11 or later; remove it or set ARCHSEARCH_VENV to another."
    now="$(fingerprint)"
    if [ "$(cat "$VENV/.archsearch-$extras" 2>/dev/null)" = "$now" ]; then
        return
    fi
    case "$extras" in
        run) covered="run" ;;
        test) covered="run test" ;;
        dev) covered="run test dev" ;;
        *) fail "ensure_env takes run, test or dev, but got $extras." ;;
    esac
    say "Installing archsearch into $VENV (a few minutes the first time) ..."
    pip_install torch  # first and alone: what depends on it must not pull in another build
    if [ "$extras" = run ]; then pip_install -e .; else pip_install -e ".[$extras]"; fi
    for extras in $covered; do printf '%s\n' "$now" >"$VENV/.archsearch-$extras"; done
}
