ALTER TABLE activities ADD COLUMN begun_by TEXT CHECK (begun_by IN ('command', 'service'));
ALTER TABLE activities ADD COLUMN origin TEXT;
ALTER TABLE activities ADD COLUMN resumes TEXT;
CREATE INDEX activities_resumes ON activities (resumes) WHERE resumes IS NOT NULL
