-- Runs. What lists are asked for is a column; the rest of a record is JSON in `specification` and `results`.

CREATE TABLE runs (
  id TEXT PRIMARY KEY,                        -- sorts in the order of submission
  state TEXT NOT NULL CHECK (state IN ('queued', 'preparing', 'running', 'completed', 'failed', 'canceled')),
  experiment TEXT NOT NULL,
  target TEXT NOT NULL,
  queued TEXT NOT NULL,                       -- when each state began
  preparing TEXT,
  running TEXT,
  ended TEXT,
  cancel_asked TEXT,                          -- when somebody asked to cancel it
  supervisor TEXT,                            -- JSON: the process that looks after it
  code TEXT,                                  -- why it ended, for programs
  reason TEXT,                                -- why it ended, for people
  exit_code INTEGER,                          -- the script's own
  signal INTEGER,
  version_id INTEGER REFERENCES versions (id),
  definition_hash TEXT,
  lock_digest TEXT,
  prefix_key TEXT,
  snapshot_digest TEXT,
  specification TEXT NOT NULL,                -- the run configuration, without secrets
  results TEXT NOT NULL DEFAULT '{}'          -- what was found out on the way: environment, inputs, outputs, notes
);
CREATE INDEX runs_by_state ON runs (state, id);
CREATE INDEX runs_by_experiment ON runs (experiment, id);
CREATE INDEX runs_by_version ON runs (version_id, id) WHERE version_id IS NOT NULL;
CREATE INDEX runs_by_hash ON runs (definition_hash, id) WHERE definition_hash IS NOT NULL;
CREATE INDEX runs_by_lock ON runs (lock_digest, id) WHERE lock_digest IS NOT NULL;
