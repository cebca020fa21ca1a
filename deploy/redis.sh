#!/bin/sh
# The Redis view's tests write to a real Redis. As root on Debian it is installed; elsewhere its tests say that they skip.
set -eu

command -v redis-server >/dev/null 2>&1 && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
	apt-get update -qq
	apt-get install -y -qq --no-install-recommends redis-server >/dev/null
else
	echo "No redis-server: the tests of the Redis view will be skipped. To run them: sudo apt-get install redis-server" >&2
fi
