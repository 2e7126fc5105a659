CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE base_images (
  reference TEXT NOT NULL,
  platform TEXT NOT NULL,
  document TEXT NOT NULL,
  PRIMARY KEY (reference, platform)
) STRICT;
CREATE TABLE locks (
  key TEXT PRIMARY KEY,
  document TEXT NOT NULL,
  created_at TEXT NOT NULL
) STRICT;
CREATE TABLE built_layers (
  key TEXT PRIMARY KEY,
  digest TEXT NOT NULL,
  size_bytes INTEGER NOT NULL,
  diff_id TEXT NOT NULL,
  media_type TEXT NOT NULL,
  checksum TEXT NOT NULL
) STRICT;
CREATE TABLE server_imports (server TEXT PRIMARY KEY, modules TEXT NOT NULL) STRICT;
CREATE TABLE image_users (
  name TEXT NOT NULL,
  version INTEGER NOT NULL,
  user TEXT NOT NULL,
  PRIMARY KEY (name, version, user),
  FOREIGN KEY (name, version) REFERENCES image_versions ON DELETE RESTRICT
) STRICT;
CREATE TABLE image_details (
  name TEXT NOT NULL,
  version INTEGER NOT NULL,
  document TEXT NOT NULL,
  PRIMARY KEY (name, version),
  FOREIGN KEY (name, version) REFERENCES image_versions ON DELETE CASCADE
) STRICT;
