#!/bin/sh
# The page's tests drive a real Chromium. As root on Debian it is installed; elsewhere its tests say that they skip.
set -eu

command -v chromium >/dev/null 2>&1 && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
	apt-get update -qq
	apt-get install -y -qq --no-install-recommends chromium >/dev/null
else
	echo "No chromium: the browser tests will be skipped. To run them: sudo apt-get install chromium" >&2
fi
