-- Base images are pinned beside the lock, once per version and platform; images that a version has had.

CREATE TABLE base_pins (
  version_id INTEGER NOT NULL REFERENCES versions (id) ON DELETE CASCADE,
  platform TEXT NOT NULL,
  reference TEXT NOT NULL,                    -- as it was written, or the default of that day
  base_digest TEXT NOT NULL,                  -- of the manifest for this platform; '' for scratch
  store TEXT NOT NULL,                        -- where it was found
  pinned TEXT NOT NULL,
  PRIMARY KEY (version_id, platform)
) WITHOUT ROWID;

CREATE TABLE images (
  version_id INTEGER NOT NULL REFERENCES versions (id) ON DELETE CASCADE,
  platform TEXT NOT NULL,
  image_key TEXT NOT NULL,
  manifest_digest TEXT NOT NULL,
  config_digest TEXT NOT NULL,                -- what container engines know the image by
  store TEXT NOT NULL,                        -- the repository that has it: 127.0.0.1:5000/team/envs, or a layout's path
  origin TEXT NOT NULL,                       -- built, workspace registry, global registry, given (a user's own image)
  scheme TEXT NOT NULL,                       -- how it was asked for: another scheme is another image
  size_bytes INTEGER NOT NULL,
  known TEXT NOT NULL,
  PRIMARY KEY (version_id, platform, scheme, store)
) WITHOUT ROWID;
CREATE INDEX images_by_key ON images (image_key);
CREATE INDEX images_by_digest ON images (manifest_digest);
