-- Rollouts that wait at their gates: beside the one that has its turn, an environment has one of them.
ALTER TABLE rollouts ADD COLUMN gated INTEGER NOT NULL DEFAULT 0;
-- Rollouts that nobody asked for: they bring hosts level.
ALTER TABLE rollouts ADD COLUMN level INTEGER NOT NULL DEFAULT 0;
UPDATE rollouts SET level = json_extract(state, '$.plan.kind') = 'level';
CREATE INDEX rollouts_asked_for ON rollouts (environment, id) WHERE level = 0;
DROP INDEX rollouts_unfinished;
CREATE UNIQUE INDEX rollouts_unfinished ON rollouts (environment, app, gated) WHERE ended = 0;

-- Who keeps the rollouts of others out of an environment.

CREATE TABLE locks (
    environment TEXT NOT NULL,
    app         TEXT NOT NULL,
    locked_by   TEXT NOT NULL,
    reason      TEXT NOT NULL,
    at          INTEGER NOT NULL,
    until       INTEGER NOT NULL,
    PRIMARY KEY (environment, app)
) STRICT, WITHOUT ROWID;
