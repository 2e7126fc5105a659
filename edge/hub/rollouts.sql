-- Deployments and rollouts.
CREATE TABLE layers (
  name TEXT PRIMARY KEY,
  body BLOB NOT NULL,
  changed_ms INTEGER NOT NULL,
  changed_by TEXT NOT NULL
) STRICT;
CREATE TABLE states (
  digest TEXT PRIMARY KEY,
  body BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE desired (
  device TEXT PRIMARY KEY,
  version INTEGER NOT NULL,
  state TEXT REFERENCES states,
  error TEXT
) STRICT;
CREATE TABLE history (
  device TEXT NOT NULL,
  version INTEGER NOT NULL,
  at_ms INTEGER NOT NULL,
  state TEXT NOT NULL REFERENCES states,
  who TEXT NOT NULL,
  cause TEXT NOT NULL,
  PRIMARY KEY (device, version)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER history_is_not_changed BEFORE UPDATE ON history
  BEGIN SELECT RAISE(ABORT, 'history is only added to'); END;
CREATE TRIGGER history_is_not_deleted BEFORE DELETE ON history
  BEGIN SELECT RAISE(ABORT, 'history is only added to'); END;
CREATE TABLE ledger (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  at_ms INTEGER NOT NULL,
  who TEXT NOT NULL,
  what TEXT NOT NULL,
  layer TEXT,
  module TEXT,
  rollout INTEGER,
  device TEXT,
  note TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX ledger_rollout ON ledger (rollout, id);
CREATE INDEX ledger_layer ON ledger (layer, id);
CREATE INDEX ledger_device ON ledger (device, id);
CREATE TRIGGER ledger_is_not_changed BEFORE UPDATE ON ledger
  BEGIN SELECT RAISE(ABORT, 'the ledger is only added to'); END;
CREATE TRIGGER ledger_is_not_deleted BEFORE DELETE ON ledger
  BEGIN SELECT RAISE(ABORT, 'the ledger is only added to'); END;
CREATE TABLE rollouts (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  layer TEXT NOT NULL,
  module TEXT NOT NULL,
  state TEXT NOT NULL,
  body BLOB NOT NULL
) STRICT;
CREATE INDEX rollouts_module ON rollouts (layer, module, id);
CREATE INDEX rollouts_state ON rollouts (state);
CREATE TABLE members (
  rollout INTEGER NOT NULL REFERENCES rollouts,
  device TEXT NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (rollout, device)
) STRICT, WITHOUT ROWID;
