CREATE TABLE run_datasets (
  run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
  name TEXT NOT NULL,
  digest TEXT NOT NULL,
  source_type TEXT NOT NULL,
  source TEXT NOT NULL,
  schema TEXT NOT NULL,
  profile TEXT NOT NULL,
  tags TEXT NOT NULL,
  PRIMARY KEY (run, name, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX run_datasets_name ON run_datasets (name, run);
CREATE INDEX run_datasets_digest ON run_datasets (digest, run)
