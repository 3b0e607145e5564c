#!/bin/sh
# See that there is an nginx for the tests of deploy/nginx.conf: on the PATH, else, as root on Debian or Ubuntu, the
# package. Without it those tests are skipped, but not in CI.
set -eu
command -v nginx >/dev/null && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "Installing nginx ..."
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq nginx-light >/dev/null || true
fi
