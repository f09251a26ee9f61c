#!/bin/sh
# Makes the virtual environment with a Python that is new enough, or says exactly what to install.
set -eu
python=$1 venv=$2

if ! command -v "$python" >/dev/null || ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "error: Python 3.11 or newer is needed, and $python is not." >&2
    echo "  mend: install it, or name one: make PYTHON=python3.12 ..." >&2
    exit 1
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && [ "${RAGSTACK_INSTALL:-}" != no ]; then
        echo "==> Python's venv module is missing: installing the package python3-venv"
        apt-get update -q && apt-get install -y -q --no-install-recommends python3-venv
    else
        echo "error: this Python cannot make virtual environments." >&2
        echo "  mend: sudo apt-get install python3-venv (Debian, Ubuntu)" >&2
        exit 1
    fi
fi
echo "==> making the virtual environment $venv"
(
    seconds=0
    while sleep 2; do
        seconds=$((seconds + 2))
        echo "==> making the virtual environment: $seconds s"
    done
) &
ticker=$!
# Half an environment has a python, which make would take for a whole one.
trap 'kill "$ticker" 2>/dev/null; rm -rf "$venv"; exit 130' INT TERM
made=0
"$python" -m venv "$venv" || made=$?
kill "$ticker" 2>/dev/null || true
if [ "$made" != 0 ]; then
    rm -rf "$venv"
    exit "$made"
fi
