#!/bin/sh
# Make the virtual environment $1 with exactly what requirements.lock names, and this project in it.
set -eu
venv=$1
python=${PYTHON:-python3}

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
  echo "Python 3.11 or later is needed, and '$python' is not it. Install one, or run: make PYTHON=/path/to/python3.12" >&2
  exit 1
}

# Debian and Ubuntu split venv off Python.
if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
  package="python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing $package ..."
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$package" >/dev/null
  else
    echo "Python's venv module is missing. Install it with: sudo apt-get install $package" >&2
    exit 1
  fi
fi

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
echo "Installing the locked packages into $venv ..."
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
# The build leaves it behind, and it would hide later changes of the entry points.
rm -rf ./*.egg-info
