SELECT name, checksum FROM headrace.migrations
