-- Builds: every solve, installation, image and push, as a record that can be watched.

CREATE TABLE builds (
  id TEXT PRIMARY KEY,                        -- sorts in the order of start
  kind TEXT NOT NULL CHECK (kind IN ('lock', 'prefix', 'image', 'push', 'pull', 'base')),
  state TEXT NOT NULL CHECK (state IN ('running', 'completed', 'failed', 'canceled')),
  subject TEXT NOT NULL,                      -- what people call it: sklearn:4
  key TEXT NOT NULL,                          -- what is made: definition hash, prefix key, image key
  started TEXT NOT NULL,
  ended TEXT,
  cancel_asked TEXT,                          -- when somebody asked to cancel it
  builder TEXT,                               -- JSON: the process that makes it
  code TEXT,                                  -- why it failed, for programs
  reason TEXT,                                -- why it failed, for people
  results TEXT NOT NULL DEFAULT '{}'          -- JSON: phases, outcome, error
);
CREATE INDEX builds_by_state ON builds (state, id);
CREATE INDEX builds_by_key ON builds (key, id);
CREATE INDEX builds_by_subject ON builds (subject, id);
