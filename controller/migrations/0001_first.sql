-- What the controller must not forget.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE admins (
    name           TEXT PRIMARY KEY,
    created_at     INTEGER NOT NULL,
    created_by     TEXT NOT NULL,
    revoked_at     INTEGER,
    revoked_reason TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;

CREATE TABLE hosts (
    id                    TEXT PRIMARY KEY,
    name                  TEXT NOT NULL,
    environment           TEXT NOT NULL,
    labels                TEXT NOT NULL,
    facts                 TEXT NOT NULL,
    enrolled_at           INTEGER NOT NULL,
    last_seen             INTEGER NOT NULL,
    revoked_at            INTEGER,
    certificate_not_after INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX hosts_by_environment ON hosts (environment, name);

-- Every certificate that was ever handed out.
CREATE TABLE certificates (
    serial     TEXT PRIMARY KEY,
    identity   TEXT NOT NULL,
    not_before INTEGER NOT NULL,
    not_after  INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX certificates_by_identity ON certificates (identity);

-- Join tokens by the hash of their secret. An empty admin: a host's token.
CREATE TABLE tokens (
    hash        BLOB PRIMARY KEY,
    admin       TEXT NOT NULL,
    environment TEXT NOT NULL,
    labels      TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    created_by  TEXT NOT NULL,
    expires_at  INTEGER NOT NULL,
    used_at     INTEGER,
    used_by     TEXT,
    refused     INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

CREATE TABLE releases (
    manifest_digest BLOB PRIMARY KEY,
    app             TEXT NOT NULL,
    id              TEXT NOT NULL,
    version         TEXT NOT NULL,
    manifest        BLOB NOT NULL,
    signatures      TEXT NOT NULL,
    published_at    INTEGER NOT NULL,
    published_by    TEXT NOT NULL,
    bad             TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX releases_by_id ON releases (app, id);
CREATE INDEX releases_by_time ON releases (app, published_at);

-- `current` and `previous` are digests of manifests.
CREATE TABLE environments (
    name       TEXT NOT NULL,
    app        TEXT NOT NULL,
    spec       TEXT NOT NULL,
    applied_at INTEGER NOT NULL,
    applied_by TEXT NOT NULL,
    current    BLOB,
    previous   BLOB,
    PRIMARY KEY (name, app)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollouts (
    id              INTEGER PRIMARY KEY,
    environment     TEXT NOT NULL,
    app             TEXT NOT NULL,
    ended           INTEGER NOT NULL,
    state           TEXT NOT NULL,
    reason          TEXT NOT NULL,
    started_by      TEXT NOT NULL,
    idempotency_key TEXT NOT NULL
) STRICT;
-- At most one unfinished rollout of an app in an environment, whatever the code above believes.
CREATE UNIQUE INDEX rollouts_unfinished ON rollouts (environment, app) WHERE ended = 0;
CREATE UNIQUE INDEX rollouts_by_key ON rollouts (idempotency_key) WHERE idempotency_key <> '';

-- Where the only instance of a service runs.
CREATE TABLE singletons (
    environment TEXT NOT NULL,
    app         TEXT NOT NULL,
    service     TEXT NOT NULL,
    host        TEXT NOT NULL,
    PRIMARY KEY (environment, app, service)
) STRICT, WITHOUT ROWID;

-- What is kept of the output of steps: head and tail, and how many bytes between them were dropped.
CREATE TABLE outputs (
    rollout INTEGER NOT NULL,
    host    TEXT NOT NULL,
    step    TEXT NOT NULL,
    head    TEXT NOT NULL,
    dropped INTEGER NOT NULL,
    tail    TEXT NOT NULL,
    PRIMARY KEY (rollout, host, step)
) STRICT, WITHOUT ROWID;

-- The history: appended to, never changed. Each line carries the hash of all lines before it.
CREATE TABLE events (
    sequence INTEGER PRIMARY KEY,
    at       INTEGER NOT NULL,
    actor    TEXT NOT NULL,
    kind     TEXT NOT NULL,
    subject  TEXT NOT NULL,
    rollout  INTEGER NOT NULL,
    text     TEXT NOT NULL,
    hash     BLOB NOT NULL
) STRICT;
CREATE INDEX events_by_rollout ON events (rollout, sequence) WHERE rollout <> 0;
CREATE TRIGGER events_never_change BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'the history is never changed'); END;
CREATE TRIGGER events_never_go BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'the history is never changed'); END;
