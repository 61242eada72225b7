-- Hosts that may go by a lease of what runs only once, and whether they keep to it whatever becomes of their agents.
CREATE TABLE leases (
    environment TEXT NOT NULL,
    app TEXT NOT NULL,
    host TEXT NOT NULL,
    keeps INTEGER NOT NULL,
    PRIMARY KEY (environment, app, host)
) STRICT, WITHOUT ROWID;
