-- Models: versions of files and directories that never change, and what they were trained with.

CREATE TABLE model_names (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  created TEXT NOT NULL,
  highest_number INTEGER NOT NULL DEFAULT 0,  -- numbers are never given twice, not even after a delete: so a name stays
  latest_id INTEGER                           -- the newest version; NULL: all were deleted
);

-- A version never changes but for description and tags. Its files lie in artifacts/models/, by their digest.
CREATE TABLE models (
  id INTEGER PRIMARY KEY AUTOINCREMENT,       -- in order of registration; never used twice
  name_id INTEGER NOT NULL REFERENCES model_names (id),
  reference TEXT NOT NULL,                    -- what people call it: churn:2
  version TEXT NOT NULL,
  digest TEXT NOT NULL,                       -- of the files: names, contents, links
  format TEXT NOT NULL,                       -- mlflow, sklearn or custom
  file_name TEXT NOT NULL,                    -- of the file or directory that it is
  is_directory INTEGER NOT NULL,
  files INTEGER NOT NULL,
  size_bytes INTEGER NOT NULL,
  created TEXT NOT NULL,
  description TEXT NOT NULL DEFAULT '',
  tags TEXT NOT NULL DEFAULT '{}',
  source TEXT NOT NULL DEFAULT '',            -- where the files were: below the run's directory, or on this machine
  run_id TEXT,                                -- the run that made it, which it may outlive
  version_id INTEGER REFERENCES versions (id),  -- the environment's version that it was trained with
  definition_hash TEXT,
  lock_digest TEXT REFERENCES locks (lock_digest),
  image_digest TEXT,                          -- of the image that it was trained in, if it was one
  made_with TEXT NOT NULL DEFAULT '{}',       -- JSON: all that the run knew of its environment
  details TEXT NOT NULL DEFAULT '{}',         -- JSON: what the format says: flavors, signature, input example
  UNIQUE (name_id, version)
);
CREATE INDEX models_newest ON models (name_id, id);
CREATE INDEX models_by_digest ON models (digest);
CREATE INDEX models_by_size ON models (size_bytes, files);
CREATE INDEX models_by_run ON models (run_id, id) WHERE run_id IS NOT NULL;
CREATE INDEX models_by_version ON models (version_id, id) WHERE version_id IS NOT NULL;
CREATE INDEX models_by_lock ON models (lock_digest, id) WHERE lock_digest IS NOT NULL;

CREATE TABLE model_labels (
  name_id INTEGER NOT NULL REFERENCES model_names (id),
  label TEXT NOT NULL,
  model_id INTEGER NOT NULL REFERENCES models (id),
  PRIMARY KEY (name_id, label)
) WITHOUT ROWID;
CREATE INDEX model_labels_by_model ON model_labels (model_id);

CREATE TABLE model_label_moves (
  id INTEGER PRIMARY KEY,
  name_id INTEGER NOT NULL REFERENCES model_names (id),
  label TEXT NOT NULL,
  from_version TEXT,                          -- NULL: the label was new
  to_version TEXT,                            -- NULL: the label was removed
  author TEXT NOT NULL,
  moved TEXT NOT NULL
);
CREATE INDEX model_label_moves_by_name ON model_label_moves (name_id, label, id);
