-- Everything that happened to an account: one row per event, for statements and for the auditor.
CREATE STREAM account_history AS
  SELECT id, _version AS seq, _type AS event_type, name, email, change, counterparty, transfer_id, reason,
         _recorded_at AS at
  FROM AccountEvent
  WITH (order_by = 'id, at');

-- How each account stands. argMax passes over NULL: the last name that was given, and the last e-mail address.
CREATE TABLE accounts_current AS
  SELECT id,
         argMax(name, _version) AS name,
         argMax(email, _version) AS email,
         SUM(change) AS balance,
         multiIf(countIf(_type = 'AccountDeleted') > 0, 'closed',
                 countIf(_type = 'AccountCreated') > 0, 'open', 'never opened') AS status,
         MAX(_recorded_at) AS changed_at
  FROM AccountEvent
  GROUP BY id
  EMIT CHANGES;

-- All money by what moved it.
CREATE TABLE money AS
  SELECT _type AS event_type, COUNT(*) AS bookings, SUM(change) AS change
  FROM AccountEvent
  GROUP BY _type
  EMIT CHANGES;
