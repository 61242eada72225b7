-- What environments say to their apps, version by version. `id` is by the content: NULL where nothing is said, and for what was said
-- before configurations had names.
CREATE TABLE configurations (
    environment TEXT NOT NULL,
    app         TEXT NOT NULL,
    version     INTEGER NOT NULL,
    id          TEXT,
    content     TEXT NOT NULL,
    at          INTEGER NOT NULL,
    by          TEXT NOT NULL,
    reason      TEXT NOT NULL,
    PRIMARY KEY (environment, app, version)
) STRICT, WITHOUT ROWID;

INSERT INTO configurations (environment, app, version, id, content, at, by, reason)
SELECT name, app, 1, NULL,
       json_object('applied', json_array(json_object('variables', json_extract(spec, '$.variables'))), 'set', json('[]')),
       applied_at, applied_by, 'applied'
FROM environments WHERE json_extract(spec, '$.variables') <> '{}';

-- What environments run, as hosts know it: with the configuration.
ALTER TABLE environments ADD COLUMN current_id TEXT;
ALTER TABLE environments ADD COLUMN previous_id TEXT;
UPDATE environments SET
    current_id = (SELECT id FROM releases WHERE manifest_digest = current),
    previous_id = (SELECT id FROM releases WHERE manifest_digest = previous);
