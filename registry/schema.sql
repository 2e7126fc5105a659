CREATE TABLE models (name TEXT PRIMARY KEY, next_version INTEGER NOT NULL DEFAULT 1) STRICT;
CREATE TABLE model_versions (
  name TEXT NOT NULL REFERENCES models ON DELETE RESTRICT,
  version INTEGER NOT NULL,
  description TEXT NOT NULL,
  created_at TEXT NOT NULL,
  digest TEXT NOT NULL,
  size_bytes INTEGER NOT NULL,
  entry TEXT,
  signature TEXT,
  PRIMARY KEY (name, version)
) STRICT;
CREATE TABLE model_files (
  name TEXT NOT NULL,
  version INTEGER NOT NULL,
  path TEXT NOT NULL,
  size_bytes INTEGER NOT NULL,
  digest TEXT NOT NULL,
  PRIMARY KEY (name, version, path),
  FOREIGN KEY (name, version) REFERENCES model_versions ON DELETE CASCADE
) STRICT;
CREATE INDEX model_files_digest ON model_files (digest);
CREATE TABLE model_tags (
  name TEXT NOT NULL,
  version INTEGER NOT NULL,
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (name, version, key),
  FOREIGN KEY (name, version) REFERENCES model_versions ON DELETE CASCADE
) STRICT;
CREATE TABLE model_properties (
  name TEXT NOT NULL,
  version INTEGER NOT NULL,
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (name, version, key),
  FOREIGN KEY (name, version) REFERENCES model_versions ON DELETE CASCADE
) STRICT;
CREATE TABLE images (name TEXT PRIMARY KEY, next_version INTEGER NOT NULL DEFAULT 1) STRICT;
CREATE TABLE image_versions (
  name TEXT NOT NULL REFERENCES images ON DELETE RESTRICT,
  version INTEGER NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('succeeded', 'failed')),
  description TEXT NOT NULL,
  created_at TEXT NOT NULL,
  digest TEXT,
  size_bytes INTEGER NOT NULL,
  log TEXT NOT NULL,
  cause TEXT,
  engine TEXT NOT NULL,
  script TEXT,
  requirements TEXT,
  PRIMARY KEY (name, version)
) STRICT;
CREATE TABLE image_models (
  name TEXT NOT NULL,
  version INTEGER NOT NULL,
  model TEXT NOT NULL,
  model_version INTEGER NOT NULL,
  PRIMARY KEY (name, version, model, model_version),
  FOREIGN KEY (name, version) REFERENCES image_versions ON DELETE CASCADE,
  FOREIGN KEY (model, model_version) REFERENCES model_versions (name, version) ON DELETE RESTRICT
) STRICT;
CREATE INDEX image_models_model ON image_models (model, model_version);
CREATE TABLE image_blobs (
  name TEXT NOT NULL,
  version INTEGER NOT NULL,
  digest TEXT NOT NULL,
  size_bytes INTEGER NOT NULL,
  PRIMARY KEY (name, version, digest),
  FOREIGN KEY (name, version) REFERENCES image_versions ON DELETE CASCADE
) STRICT;
CREATE TABLE image_tags (
  name TEXT NOT NULL,
  version INTEGER NOT NULL,
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (name, version, key),
  FOREIGN KEY (name, version) REFERENCES image_versions ON DELETE CASCADE
) STRICT;
