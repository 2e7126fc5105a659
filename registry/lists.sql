CREATE INDEX model_tags_value ON model_tags (key, value, name, version);
CREATE INDEX image_tags_value ON image_tags (key, value, name, version);
CREATE INDEX model_origins_stage ON model_origins (name, stage, version)
