CREATE TABLE model_names (
  name TEXT PRIMARY KEY REFERENCES models ON DELETE CASCADE,
  description TEXT NOT NULL,
  created_ms INTEGER NOT NULL,
  updated_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE model_name_tags (
  name TEXT NOT NULL REFERENCES model_names ON DELETE CASCADE,
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (name, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE model_origins (
  name TEXT NOT NULL,
  version INTEGER NOT NULL,
  source TEXT NOT NULL,
  user TEXT NOT NULL,
  logged_model TEXT,
  stage TEXT NOT NULL DEFAULT 'None',
  created_ms INTEGER NOT NULL,
  updated_ms INTEGER NOT NULL,
  PRIMARY KEY (name, version),
  FOREIGN KEY (name, version) REFERENCES model_versions ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE TABLE model_aliases (
  model TEXT NOT NULL,
  alias TEXT NOT NULL,
  version INTEGER NOT NULL,
  PRIMARY KEY (model, alias),
  FOREIGN KEY (model, version) REFERENCES model_versions (name, version) ON DELETE RESTRICT
) STRICT, WITHOUT ROWID;
CREATE INDEX model_aliases_version ON model_aliases (model, version);
CREATE TABLE alias_changes (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  model TEXT NOT NULL,
  alias TEXT NOT NULL,
  version INTEGER,
  at_ms INTEGER NOT NULL,
  who TEXT NOT NULL
) STRICT;
CREATE INDEX alias_changes_of ON alias_changes (model, alias, id);
CREATE TRIGGER alias_changes_stay BEFORE DELETE ON alias_changes BEGIN SELECT RAISE(ABORT, 'the history of aliases only grows'); END;
CREATE TRIGGER alias_changes_are_so BEFORE UPDATE ON alias_changes BEGIN SELECT RAISE(ABORT, 'the history of aliases only grows'); END
