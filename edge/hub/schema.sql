CREATE TABLE changed (
  name TEXT PRIMARY KEY CHECK (name IN ('devices', 'desired', 'commands')),
  count INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO changed (name) VALUES ('devices'), ('desired'), ('commands');
CREATE TABLE devices (
  name TEXT PRIMARY KEY,
  enrolled_at_ms INTEGER NOT NULL,
  tags TEXT NOT NULL DEFAULT '{}',
  desired_mark INTEGER NOT NULL DEFAULT 0,
  online INTEGER NOT NULL DEFAULT 0,
  epoch INTEGER NOT NULL DEFAULT 0,
  last_seen_ms INTEGER,
  status BLOB,
  reported BLOB,
  reported_epoch INTEGER NOT NULL DEFAULT 0,
  reported_number INTEGER NOT NULL DEFAULT 0,
  reported_at_ms INTEGER
) STRICT;
CREATE INDEX devices_desired_mark ON devices (desired_mark);
CREATE TABLE streams (
  id INTEGER PRIMARY KEY,
  device TEXT NOT NULL REFERENCES devices ON DELETE CASCADE,
  life TEXT NOT NULL,
  stream INTEGER NOT NULL,
  high INTEGER NOT NULL,
  UNIQUE (device, life, stream)
) STRICT;
CREATE TABLE segments (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  stream INTEGER NOT NULL REFERENCES streams ON DELETE CASCADE,
  first INTEGER NOT NULL,
  last INTEGER NOT NULL,
  records INTEGER NOT NULL,
  from_ms INTEGER NOT NULL,
  to_ms INTEGER NOT NULL,
  received_ms INTEGER NOT NULL,
  labels TEXT,
  payload BLOB NOT NULL
) STRICT;
CREATE INDEX segments_stream ON segments (stream, id);
CREATE TABLE gaps (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  stream INTEGER NOT NULL REFERENCES streams ON DELETE CASCADE,
  first INTEGER NOT NULL,
  last INTEGER NOT NULL,
  reason TEXT NOT NULL,
  received_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX gaps_stream ON gaps (stream, id);
CREATE TABLE totals (
  name TEXT PRIMARY KEY,
  value INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO totals (name) VALUES
  ('records'), ('size_bytes'), ('lost'), ('dropped_records'), ('dropped_bytes');
CREATE TABLE commands (
  id TEXT PRIMARY KEY,
  device TEXT NOT NULL REFERENCES devices ON DELETE CASCADE,
  name TEXT NOT NULL,
  arguments TEXT NOT NULL,
  created_ms INTEGER NOT NULL,
  expires_ms INTEGER NOT NULL,
  parts INTEGER,
  ok INTEGER,
  error TEXT,
  completed_ms INTEGER
) STRICT;
CREATE INDEX commands_device ON commands (device, created_ms);
CREATE INDEX commands_open ON commands (expires_ms) WHERE completed_ms IS NULL;
CREATE TABLE replies (
  command TEXT NOT NULL REFERENCES commands ON DELETE CASCADE,
  part INTEGER NOT NULL,
  text TEXT NOT NULL,
  PRIMARY KEY (command, part)
) STRICT, WITHOUT ROWID;
