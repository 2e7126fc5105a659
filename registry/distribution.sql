CREATE TABLE manifests (
  repository TEXT NOT NULL,
  digest TEXT NOT NULL,
  media_type TEXT NOT NULL,
  size_bytes INTEGER NOT NULL,
  subject TEXT,
  artifact_type TEXT,
  annotations TEXT NOT NULL,
  is_pushed INTEGER NOT NULL,
  is_recorded INTEGER NOT NULL,
  PRIMARY KEY (repository, digest)
) STRICT;
CREATE INDEX manifests_subject ON manifests (repository, subject);
CREATE TABLE manifest_blobs (
  repository TEXT NOT NULL,
  manifest TEXT NOT NULL,
  digest TEXT NOT NULL,
  size_bytes INTEGER NOT NULL,
  PRIMARY KEY (repository, manifest, digest),
  FOREIGN KEY (repository, manifest) REFERENCES manifests (repository, digest) ON DELETE CASCADE
) STRICT;
CREATE INDEX manifest_blobs_digest ON manifest_blobs (repository, digest);
CREATE TABLE manifest_tags (
  repository TEXT NOT NULL,
  tag TEXT NOT NULL,
  digest TEXT NOT NULL,
  PRIMARY KEY (repository, tag),
  FOREIGN KEY (repository, digest) REFERENCES manifests (repository, digest) ON DELETE CASCADE
) STRICT;
CREATE INDEX manifest_tags_digest ON manifest_tags (repository, digest);
CREATE TABLE held_blobs (
  repository TEXT NOT NULL,
  digest TEXT NOT NULL,
  size_bytes INTEGER NOT NULL,
  media_type TEXT,
  expires_at REAL NOT NULL,
  PRIMARY KEY (repository, digest)
) STRICT;
CREATE TABLE blob_uploads (
  id TEXT PRIMARY KEY,
  repository TEXT NOT NULL,
  expires_at REAL NOT NULL
) STRICT;
CREATE TABLE tokens (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  access TEXT NOT NULL CHECK (access IN ('read', 'write')),
  sha256 TEXT NOT NULL UNIQUE,
  created_at REAL NOT NULL,
  expires_at REAL,
  revoked_at REAL
) STRICT;
CREATE UNIQUE INDEX tokens_name ON tokens (name) WHERE revoked_at IS NULL;
CREATE INDEX image_blobs_digest ON image_blobs (digest, name);
CREATE VIEW repository_manifests AS
SELECT repository, digest, media_type, size_bytes, is_recorded FROM manifests
UNION ALL
SELECT name, digest, 'application/vnd.oci.image.manifest.v1+json', size_bytes, 1
FROM (
  SELECT v.name, v.digest, b.size_bytes FROM image_versions v
  JOIN image_blobs b ON b.name = v.name AND b.version = v.version AND b.digest = v.digest
  WHERE v.state = 'succeeded'
);
CREATE VIEW repository_blobs AS
SELECT repository, digest FROM manifest_blobs
UNION ALL SELECT name, digest FROM image_blobs
UNION ALL SELECT repository, digest FROM held_blobs;
