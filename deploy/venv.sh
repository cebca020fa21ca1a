#!/bin/sh
# Make the project's virtual environment, with uv in it. Usage: venv.sh PYTHON FOLDER
# Debian ships Python without the part that makes environments; as root we fetch it, else we say what to do.
set -eu

python=$1 venv=$2
command -v "$python" >/dev/null 2>&1 || python=python3

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
	echo "headrace needs Python 3.11 or newer; $python is $("$python" --version 2>&1)." >&2
	exit 1
}

if ! "$python" -c 'import ensurepip' 2>/dev/null; then
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
		apt-get update -qq
		apt-get install -y -qq python3-venv >/dev/null
	else
		echo "This Python cannot make virtual environments. Run: sudo apt-get install python3-venv" >&2
		exit 1
	fi
fi

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
[ -x "$venv/bin/uv" ] || "$venv/bin/pip" install --quiet --disable-pip-version-check --constraint constraints.txt uv
