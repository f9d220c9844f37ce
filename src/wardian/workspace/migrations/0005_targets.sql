-- Targets: places to run that have a name. And where a run is that was handed over to one.

CREATE TABLE targets (
  name TEXT PRIMARY KEY,
  kind TEXT NOT NULL,
  options TEXT NOT NULL,                      -- JSON: NAME → text, without secrets
  created TEXT NOT NULL
) WITHOUT ROWID;

-- JSON: the run's target, directory and name at the engine that has it; NULL: it runs under a process of its own here
ALTER TABLE runs ADD COLUMN place TEXT;
CREATE INDEX runs_placed ON runs (state, target, id) WHERE place IS NOT NULL;
CREATE INDEX runs_of_target ON runs (target, state, id);
