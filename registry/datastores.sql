CREATE TABLE datastores (
  name TEXT PRIMARY KEY,
  kind TEXT NOT NULL CHECK (kind IN ('file', 'sftp', 's3')),
  settings TEXT NOT NULL,
  is_default INTEGER NOT NULL CHECK (is_default IN (0, 1)),
  attached_at TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX datastores_default ON datastores (is_default) WHERE is_default = 1;
INSERT INTO datastores VALUES ('workspace', 'file', '{}', 1, '1970-01-01T00:00:00Z');
CREATE TABLE datastore_secrets (
  datastore TEXT NOT NULL REFERENCES datastores ON DELETE CASCADE,
  name TEXT NOT NULL,
  sealed BLOB NOT NULL,
  set_at TEXT NOT NULL,
  PRIMARY KEY (datastore, name)
) STRICT;
