-- Environments, versions, labels, locks. Moments are RFC 3339 texts in UTC, digests 64 hexadecimal digits.

CREATE TABLE environments (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  created TEXT NOT NULL,
  archived TEXT,                              -- when the whole name was archived
  highest_number INTEGER NOT NULL DEFAULT 0,  -- numbers are never given twice, not even after a delete
  -- kept in step with the versions, so that a page of a list costs the same in any workspace
  latest_id INTEGER,                          -- newest version that is not archived; if all are, the newest
  kind TEXT NOT NULL DEFAULT '',              -- of the latest: system, user
  hidden INTEGER NOT NULL DEFAULT 0           -- the name is archived, or each of its versions is
);
CREATE INDEX environments_shown ON environments (hidden, name);
CREATE INDEX environments_of_kind ON environments (kind, hidden, name);
CREATE INDEX environments_all_of_kind ON environments (kind, name);

-- A version never changes but for description, tags and archived. An anonymous one has no environment and no version.
CREATE TABLE versions (
  id INTEGER PRIMARY KEY AUTOINCREMENT,       -- in order of registration; never used twice
  environment_id INTEGER REFERENCES environments (id),
  version TEXT,
  content_key TEXT NOT NULL,                  -- of all that a version is: the definition with variables and interpreter
  definition_hash TEXT NOT NULL,
  kind TEXT NOT NULL,
  created TEXT NOT NULL,
  archived TEXT,
  description TEXT NOT NULL DEFAULT '',
  tags TEXT NOT NULL DEFAULT '{}',
  parent_id INTEGER REFERENCES versions (id) ON DELETE SET NULL,
  parent TEXT NOT NULL DEFAULT '',            -- what the parent was called, which outlives it
  parent_hash TEXT NOT NULL DEFAULT '',
  lineage_note TEXT NOT NULL DEFAULT '',
  source_format TEXT,
  document TEXT NOT NULL,                     -- the content as canonical JSON
  source_text TEXT,                           -- the file that it was read from, self-contained, comments kept
  UNIQUE (environment_id, version),
  CHECK ((environment_id IS NULL) = (version IS NULL))
);
CREATE INDEX versions_of_environment ON versions (environment_id);
CREATE INDEX versions_newest ON versions (environment_id, archived);
CREATE INDEX versions_by_hash ON versions (definition_hash);
CREATE INDEX versions_anonymous_by_hash ON versions (definition_hash) WHERE environment_id IS NULL;
CREATE UNIQUE INDEX versions_anonymous_by_content ON versions (content_key) WHERE environment_id IS NULL;
CREATE INDEX versions_by_parent ON versions (parent_id) WHERE parent_id IS NOT NULL;

CREATE TABLE labels (
  environment_id INTEGER NOT NULL REFERENCES environments (id),
  label TEXT NOT NULL,
  version_id INTEGER NOT NULL REFERENCES versions (id),
  PRIMARY KEY (environment_id, label)
) WITHOUT ROWID;
CREATE INDEX labels_by_version ON labels (version_id);

CREATE TABLE label_moves (
  id INTEGER PRIMARY KEY,
  environment_id INTEGER NOT NULL REFERENCES environments (id) ON DELETE CASCADE,
  label TEXT NOT NULL,
  from_version TEXT,                          -- NULL: the label was new
  to_version TEXT,                            -- NULL: the label was removed
  author TEXT NOT NULL,
  moved TEXT NOT NULL
);
CREATE INDEX label_moves_by_environment ON label_moves (environment_id);
CREATE INDEX label_moves_by_label ON label_moves (environment_id, label);

CREATE TABLE locks (
  lock_digest TEXT PRIMARY KEY,
  install_digest TEXT NOT NULL,
  platform TEXT NOT NULL,
  packages INTEGER NOT NULL,
  python_version TEXT NOT NULL,
  python_source TEXT NOT NULL,
  python_sha256 TEXT NOT NULL,
  document BLOB NOT NULL                      -- the digested part: canonical JSON, zlib
);

-- One set of artifacts may answer several definitions: each with a provenance of its own.
CREATE TABLE lock_provenances (
  id INTEGER PRIMARY KEY,
  lock_digest TEXT NOT NULL REFERENCES locks (lock_digest),
  definition_hash TEXT NOT NULL,
  created TEXT NOT NULL,
  as_of TEXT NOT NULL,
  document TEXT NOT NULL,
  UNIQUE (lock_digest, definition_hash)
);
CREATE INDEX lock_provenances_by_lock ON lock_provenances (lock_digest);

CREATE TABLE pins (
  version_id INTEGER NOT NULL REFERENCES versions (id) ON DELETE CASCADE,
  platform TEXT NOT NULL,
  lock_digest TEXT NOT NULL REFERENCES locks (lock_digest),
  origin TEXT NOT NULL,
  pinned TEXT NOT NULL,
  PRIMARY KEY (version_id, platform)
) WITHOUT ROWID;
CREATE INDEX pins_by_lock ON pins (lock_digest);

CREATE TABLE current_locks (
  definition_hash TEXT NOT NULL,
  platform TEXT NOT NULL,
  lock_digest TEXT NOT NULL REFERENCES locks (lock_digest),
  origin TEXT NOT NULL,
  chosen TEXT NOT NULL,
  PRIMARY KEY (definition_hash, platform)
) WITHOUT ROWID;
CREATE INDEX current_locks_by_lock ON current_locks (lock_digest);

CREATE TABLE current_lock_moves (
  id INTEGER PRIMARY KEY,
  definition_hash TEXT NOT NULL,
  platform TEXT NOT NULL,
  from_lock TEXT,
  to_lock TEXT NOT NULL,
  origin TEXT NOT NULL,
  author TEXT NOT NULL,
  moved TEXT NOT NULL
);
CREATE INDEX current_lock_moves_by_hash ON current_lock_moves (definition_hash, platform);

-- Definition files that were parsed before. A cache: rows may go at any time.
CREATE TABLE parsed_files (
  id INTEGER PRIMARY KEY,
  file_digest TEXT NOT NULL,
  format TEXT NOT NULL,
  reader_version TEXT NOT NULL,
  definition_hash TEXT NOT NULL,
  content_key TEXT NOT NULL,
  document TEXT NOT NULL,
  UNIQUE (file_digest, format, reader_version)
);
