CREATE TABLE experiments (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL UNIQUE,
  created_ms INTEGER NOT NULL,
  updated_ms INTEGER NOT NULL,
  is_deleted INTEGER NOT NULL DEFAULT 0,
  next_number INTEGER NOT NULL DEFAULT 1
) STRICT;
INSERT INTO experiments (id, name, created_ms, updated_ms) VALUES (0, 'Default', 0, 0);
CREATE TABLE experiment_tags (
  experiment INTEGER NOT NULL REFERENCES experiments ON DELETE CASCADE,
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (experiment, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE environments (digest TEXT PRIMARY KEY, document TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE runs (
  key INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  experiment INTEGER NOT NULL REFERENCES experiments ON DELETE RESTRICT,
  number INTEGER NOT NULL,
  name TEXT NOT NULL,
  parent INTEGER REFERENCES runs ON DELETE RESTRICT,
  status TEXT NOT NULL CHECK (status IN ('scheduled', 'running', 'finished', 'failed', 'killed')),
  cause TEXT,
  user TEXT NOT NULL,
  source TEXT NOT NULL,
  revision TEXT,
  environment TEXT REFERENCES environments ON DELETE RESTRICT,
  started_ms INTEGER NOT NULL,
  ended_ms INTEGER,
  is_deleted INTEGER NOT NULL DEFAULT 0,
  has_life INTEGER NOT NULL DEFAULT 0,
  cancel_requested INTEGER NOT NULL DEFAULT 0,
  UNIQUE (experiment, number)
) STRICT;
CREATE INDEX runs_started ON runs (is_deleted, started_ms DESC, key DESC);
CREATE INDEX runs_of_experiment ON runs (experiment, is_deleted, started_ms DESC, key DESC);
CREATE INDEX runs_status ON runs (is_deleted, status, started_ms DESC, key DESC);
CREATE INDEX runs_name ON runs (is_deleted, name, key);
CREATE INDEX runs_ended ON runs (is_deleted, ended_ms, key);
CREATE INDEX runs_parent ON runs (parent) WHERE parent IS NOT NULL;
CREATE INDEX runs_environment ON runs (environment) WHERE environment IS NOT NULL;
CREATE INDEX runs_alive ON runs (key) WHERE has_life = 1 AND status = 'running';
CREATE TABLE run_params (
  run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (run, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX run_params_key ON run_params (key, value, run DESC);
CREATE TABLE run_tags (
  run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (run, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX run_tags_key ON run_tags (key, value, run DESC);
CREATE TABLE run_properties (
  run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (run, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE run_metrics (
  run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
  key TEXT NOT NULL,
  metric INTEGER NOT NULL,
  count INTEGER NOT NULL,
  value REAL,
  step INTEGER NOT NULL,
  at_ms INTEGER NOT NULL,
  min REAL,
  max REAL,
  PRIMARY KEY (run, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX run_metrics_key ON run_metrics (key, value, run);
CREATE TABLE metric_points (
  run INTEGER NOT NULL,
  metric INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  value REAL,
  step INTEGER NOT NULL,
  at_ms INTEGER NOT NULL,
  PRIMARY KEY (run, metric, seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE metric_blocks (
  run INTEGER NOT NULL,
  metric INTEGER NOT NULL,
  block INTEGER NOT NULL,
  count INTEGER NOT NULL,
  step INTEGER NOT NULL,
  at_ms INTEGER NOT NULL,
  last REAL,
  min REAL,
  max REAL,
  PRIMARY KEY (run, metric, block)
) STRICT, WITHOUT ROWID;
CREATE TABLE run_values (
  run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
  key TEXT NOT NULL,
  seq INTEGER NOT NULL,
  kind TEXT NOT NULL,
  at_ms INTEGER NOT NULL,
  document TEXT NOT NULL,
  PRIMARY KEY (run, key, seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE run_files (
  run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
  path TEXT NOT NULL,
  size_bytes INTEGER NOT NULL,
  digest TEXT NOT NULL,
  at_ms INTEGER NOT NULL,
  PRIMARY KEY (run, path)
) STRICT, WITHOUT ROWID;
CREATE INDEX run_files_digest ON run_files (digest);
CREATE TABLE model_runs (
  name TEXT NOT NULL,
  version INTEGER NOT NULL,
  run INTEGER NOT NULL REFERENCES runs ON DELETE RESTRICT,
  PRIMARY KEY (name, version),
  FOREIGN KEY (name, version) REFERENCES model_versions ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX model_runs_run ON model_runs (run);
