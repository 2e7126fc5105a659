CREATE TABLE snapshots (
  digest TEXT PRIMARY KEY,
  files INTEGER NOT NULL,
  size_bytes INTEGER NOT NULL,
  made_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE snapshot_files (
  snapshot TEXT NOT NULL REFERENCES snapshots ON DELETE CASCADE,
  path TEXT NOT NULL,
  size_bytes INTEGER NOT NULL,
  digest TEXT NOT NULL,
  is_executable INTEGER NOT NULL,
  PRIMARY KEY (snapshot, path)
) STRICT, WITHOUT ROWID;
CREATE INDEX snapshot_files_digest ON snapshot_files (digest);
CREATE TABLE submissions (
  run INTEGER PRIMARY KEY REFERENCES runs ON DELETE CASCADE,
  snapshot TEXT NOT NULL REFERENCES snapshots ON DELETE RESTRICT,
  config TEXT NOT NULL
) STRICT;
CREATE INDEX submissions_snapshot ON submissions (snapshot);
CREATE TABLE submission_inputs (
  run INTEGER NOT NULL REFERENCES submissions ON DELETE CASCADE,
  name TEXT NOT NULL,
  snapshot TEXT NOT NULL REFERENCES snapshots ON DELETE RESTRICT,
  PRIMARY KEY (run, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX submission_inputs_snapshot ON submission_inputs (snapshot);
CREATE TABLE run_targets (
  name TEXT PRIMARY KEY,
  kind TEXT NOT NULL CHECK (kind IN ('ssh', 'spark')),
  settings TEXT NOT NULL,
  attached_at TEXT NOT NULL
) STRICT;
