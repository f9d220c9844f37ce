-- Endpoints: names that answer on a port; what serves them, in numbered deployments that never change; and who served when.

CREATE TABLE endpoints (
  name TEXT PRIMARY KEY,
  created TEXT NOT NULL,
  port INTEGER,                               -- on the loopback address; NULL: none was taken yet
  replicas INTEGER NOT NULL,                  -- as many are wanted
  keys TEXT NOT NULL,                         -- JSON: of each API key its sha256, never the key; empty: no authentication
  wanted INTEGER,                             -- the rollout that is to serve
  current INTEGER,                            -- the rollout that serves; NULL: none did yet
  deleting TEXT,                              -- when its deletion was asked for
  keeper TEXT,                                -- JSON: the process that looks after it
  trouble TEXT                                -- JSON: code and reason, where its replicas are not started any more
) WITHOUT ROWID;

CREATE TABLE deployments (
  endpoint TEXT NOT NULL REFERENCES endpoints (name) ON DELETE CASCADE,
  number INTEGER NOT NULL,
  created TEXT NOT NULL,
  model_id INTEGER REFERENCES models (id),    -- NULL: the code needs none
  version_id INTEGER REFERENCES versions (id),
  specification TEXT NOT NULL,                -- JSON: configuration, identities; no secrets
  PRIMARY KEY (endpoint, number)
) WITHOUT ROWID;
CREATE INDEX deployments_of_model ON deployments (model_id) WHERE model_id IS NOT NULL;
CREATE INDEX deployments_of_version ON deployments (version_id) WHERE version_id IS NOT NULL;

-- Each time that a deployment was to serve: first deployed, rolled back to, restarted.
CREATE TABLE rollouts (
  endpoint TEXT NOT NULL REFERENCES endpoints (name) ON DELETE CASCADE,
  number INTEGER NOT NULL,
  deployment INTEGER NOT NULL,
  kind TEXT NOT NULL,                         -- deploy, update, rollback, restart, key
  state TEXT NOT NULL,                        -- starting, serving, replaced, failed, superseded
  asked TEXT NOT NULL,
  ended TEXT,                                 -- when it began to serve, or failed
  code TEXT,
  reason TEXT,
  PRIMARY KEY (endpoint, number)
) WITHOUT ROWID;
