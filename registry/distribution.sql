CREATE TABLE pushed_manifests (
  repository TEXT NOT NULL,
  digest TEXT NOT NULL,
  media_type TEXT NOT NULL,
  size_bytes INTEGER NOT NULL,
  subject TEXT,
  pushed_at TEXT NOT NULL,
  PRIMARY KEY (repository, digest)
) STRICT;
