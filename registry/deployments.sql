CREATE TABLE targets (
  name TEXT PRIMARY KEY,
  kind TEXT NOT NULL CHECK (kind IN ('local', 'docker', 'fpga', 'edge')),
  settings TEXT NOT NULL,
  attached_at TEXT NOT NULL
) STRICT;
INSERT INTO targets VALUES ('local', 'local', '{}', '1970-01-01T00:00:00Z');
CREATE TABLE deployments (
  name TEXT PRIMARY KEY,
  target TEXT NOT NULL REFERENCES targets ON DELETE RESTRICT,
  service TEXT NOT NULL,
  goal INTEGER NOT NULL,
  is_wanted INTEGER NOT NULL DEFAULT 1,
  change INTEGER NOT NULL DEFAULT 1,
  next_revision INTEGER NOT NULL DEFAULT 2,
  created_at TEXT NOT NULL
) STRICT;
CREATE TABLE deployment_revisions (
  deployment TEXT NOT NULL REFERENCES deployments ON DELETE CASCADE,
  revision INTEGER NOT NULL,
  image TEXT NOT NULL,
  image_version INTEGER NOT NULL,
  digest TEXT NOT NULL,
  settings TEXT NOT NULL,
  made_at TEXT NOT NULL,
  made_by TEXT NOT NULL,
  PRIMARY KEY (deployment, revision),
  FOREIGN KEY (image, image_version) REFERENCES image_versions (name, version) ON DELETE RESTRICT
) STRICT;
CREATE TABLE deployment_traffic (
  deployment TEXT NOT NULL,
  revision INTEGER NOT NULL,
  percent REAL NOT NULL CHECK (percent >= 0 AND percent <= 100),
  is_shadow INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (deployment, revision),
  FOREIGN KEY (deployment, revision) REFERENCES deployment_revisions ON DELETE CASCADE
) STRICT;
CREATE TABLE deployment_secrets (
  deployment TEXT NOT NULL REFERENCES deployments ON DELETE CASCADE,
  name TEXT NOT NULL,
  sealed BLOB NOT NULL,
  set_at TEXT NOT NULL,
  PRIMARY KEY (deployment, name)
) STRICT;
CREATE TABLE deployment_keys (
  deployment TEXT NOT NULL REFERENCES deployments ON DELETE CASCADE,
  slot TEXT NOT NULL CHECK (slot IN ('primary', 'secondary')),
  sealed BLOB NOT NULL,
  made_at TEXT NOT NULL,
  PRIMARY KEY (deployment, slot)
) STRICT;
CREATE TABLE deployment_state (
  deployment TEXT PRIMARY KEY REFERENCES deployments ON DELETE CASCADE,
  state TEXT NOT NULL,
  cause TEXT,
  url TEXT,
  change INTEGER NOT NULL,
  replicas TEXT NOT NULL,
  seen_at TEXT NOT NULL,
  memory TEXT NOT NULL
) STRICT;
CREATE TABLE deployment_ledger (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  at TEXT NOT NULL,
  deployment TEXT NOT NULL,
  actor TEXT NOT NULL,
  event TEXT NOT NULL,
  detail TEXT NOT NULL
) STRICT;
CREATE INDEX deployment_ledger_deployment ON deployment_ledger (deployment, id);
CREATE TRIGGER deployment_ledger_stays BEFORE DELETE ON deployment_ledger BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER deployment_ledger_same BEFORE UPDATE ON deployment_ledger BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
