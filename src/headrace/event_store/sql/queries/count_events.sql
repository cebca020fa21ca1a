SELECT count(*) FROM headrace.events
