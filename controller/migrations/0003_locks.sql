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
