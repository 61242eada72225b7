-- Which batons a host has had, the one that it holds first; and whether two machines came with its identity.

ALTER TABLE hosts ADD COLUMN batons BLOB NOT NULL DEFAULT x'';
ALTER TABLE hosts ADD COLUMN locked INTEGER NOT NULL DEFAULT 0;
