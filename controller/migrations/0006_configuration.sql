-- What environments say to their apps, version by version. `id` is by the content; NULL for what was said before configurations had names.
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

-- What environments run, as hosts know it, and the version that it was told.
ALTER TABLE environments ADD COLUMN current_id TEXT;
ALTER TABLE environments ADD COLUMN current_configuration INTEGER NOT NULL DEFAULT 0;
ALTER TABLE environments ADD COLUMN previous_id TEXT;
ALTER TABLE environments ADD COLUMN previous_configuration INTEGER NOT NULL DEFAULT 0;
UPDATE environments SET
    current_id = (SELECT id FROM releases WHERE manifest_digest = current),
    previous_id = (SELECT id FROM releases WHERE manifest_digest = previous);
UPDATE environments SET current_configuration = 1, previous_configuration = 1
WHERE EXISTS (SELECT 1 FROM configurations WHERE environment = environments.name AND configurations.app = environments.app);
