CREATE TABLE activity_changes (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  activity TEXT NOT NULL UNIQUE REFERENCES activities ON DELETE CASCADE
) STRICT;
INSERT INTO activity_changes (activity) SELECT id FROM activities ORDER BY started_at, rowid;
CREATE TRIGGER activity_began AFTER INSERT ON activities BEGIN INSERT INTO activity_changes (activity) VALUES (new.id); END;
CREATE TRIGGER activity_changed AFTER UPDATE OF state, phase, done, total, cause ON activities BEGIN INSERT OR REPLACE INTO activity_changes (activity) VALUES (new.id); END;
CREATE TABLE activity_hooks (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  url TEXT NOT NULL,
  kinds TEXT NOT NULL,
  states TEXT NOT NULL,
  sealed BLOB NOT NULL,
  made_at TEXT NOT NULL
) STRICT;
CREATE TABLE activity_outbox (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  hook INTEGER NOT NULL REFERENCES activity_hooks ON DELETE CASCADE,
  body TEXT NOT NULL,
  tries INTEGER NOT NULL DEFAULT 0,
  due_at REAL NOT NULL DEFAULT 0,
  since REAL NOT NULL DEFAULT 0,
  said TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX activity_outbox_due ON activity_outbox (due_at);
CREATE INDEX activity_outbox_hook ON activity_outbox (hook, id);
CREATE TRIGGER activity_told_begin AFTER INSERT ON activities BEGIN INSERT INTO activity_outbox (hook, body) SELECT id, json_object('type', 'activity.' || new.state, 'id', new.id, 'kind', new.kind, 'subject', new.subject, 'state', new.state, 'cause', new.cause, 'started_at', new.started_at, 'ended_at', new.ended_at) FROM activity_hooks WHERE new.state IN (SELECT value FROM json_each(states)) AND (kinds = '[]' OR new.kind IN (SELECT value FROM json_each(kinds))); END;
CREATE TRIGGER activity_told AFTER UPDATE OF state ON activities WHEN new.state <> old.state BEGIN INSERT INTO activity_outbox (hook, body) SELECT id, json_object('type', 'activity.' || new.state, 'id', new.id, 'kind', new.kind, 'subject', new.subject, 'state', new.state, 'cause', new.cause, 'started_at', new.started_at, 'ended_at', new.ended_at) FROM activity_hooks WHERE new.state IN (SELECT value FROM json_each(states)) AND (kinds = '[]' OR new.kind IN (SELECT value FROM json_each(kinds))); END
