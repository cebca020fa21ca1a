-- Where each transfer stands: the name of its last event says it.
CREATE TABLE transfers_current AS
  SELECT transfer_id, source, target, amount,
         lower(replaceOne(argMax(_type, _version), 'Transfer', '')) AS state,
         argMax(reason, _version) AS reason,
         MIN(_recorded_at) AS requested_at,
         MAX(_recorded_at) AS changed_at
  FROM TransferEvent
  GROUP BY transfer_id, source, target, amount
  EMIT CHANGES;
