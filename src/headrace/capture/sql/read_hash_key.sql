-- The key of keyed hashes; fields of events that can be joined have it too.
SELECT key FROM headrace.hash_key
