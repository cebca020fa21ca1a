SELECT key FROM headrace.hash_key
