ALTER TABLE tokens ADD COLUMN role TEXT NOT NULL DEFAULT '' CHECK (role IN ('', 'puller', 'reader', 'contributor', 'owner'));
UPDATE tokens SET role = CASE access WHEN 'write' THEN 'contributor' ELSE 'puller' END;
CREATE TABLE audit (
  id INTEGER PRIMARY KEY,
  at TEXT NOT NULL,
  who TEXT NOT NULL,
  role TEXT NOT NULL,
  client TEXT NOT NULL,
  method TEXT NOT NULL,
  route TEXT NOT NULL,
  path TEXT NOT NULL,
  status INTEGER NOT NULL
) STRICT
