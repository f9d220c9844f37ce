-- How many replicas an endpoint has once a rollout serves; one that fails changes nothing.

ALTER TABLE rollouts ADD COLUMN replicas INTEGER;  -- NULL: as many as the endpoint has
