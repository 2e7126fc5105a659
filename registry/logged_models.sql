CREATE TABLE logged_models (
  key INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
  name TEXT NOT NULL,
  type TEXT NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('pending', 'ready', 'failed')),
  cause TEXT NOT NULL DEFAULT '',
  step INTEGER,
  created_ms INTEGER NOT NULL,
  updated_ms INTEGER NOT NULL,
  is_deleted INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX logged_models_run ON logged_models (run);
CREATE INDEX logged_models_name ON logged_models (name, key);
CREATE TABLE logged_model_tags (
  model INTEGER NOT NULL REFERENCES logged_models ON DELETE CASCADE,
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (model, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE logged_model_params (
  model INTEGER NOT NULL REFERENCES logged_models ON DELETE CASCADE,
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (model, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE logged_model_metrics (
  model INTEGER NOT NULL REFERENCES logged_models ON DELETE CASCADE,
  key TEXT NOT NULL,
  value REAL,
  step INTEGER NOT NULL,
  at_ms INTEGER NOT NULL,
  PRIMARY KEY (model, key)
) STRICT, WITHOUT ROWID
