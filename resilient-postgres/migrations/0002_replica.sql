-- Version 2 of the tables of resilient-postgres: the records of replica sets.
-- To run it by hand: psql --single-transaction --file=0002_replica.sql

CREATE TABLE public.resilient_idempotency_replica (
    -- SHA-256 of the name of the replica set. An index cannot have values of any length.
    set_hash bytea NOT NULL,
    -- The range of the record, which depends on its key.
    range smallint NOT NULL,
    -- SHA-256 of the key.
    key_hash bytea NOT NULL,
    -- The name of the replica set and the key, in UTF-8. The type `text` cannot contain the byte 0.
    set_name bytea NOT NULL,
    key bytea NOT NULL,
    -- The version. The order of uuid is the order of its 16 bytes.
    version uuid NOT NULL,
    -- The digest of a range is the exclusive or of the marks of its records.
    mark bigint NOT NULL,
    -- The value; null if it was removed.
    value bytea,
    PRIMARY KEY (set_hash, range, key_hash)
) WITH (fillfactor = 80);

INSERT INTO public.resilient_idempotency_version (version) VALUES (2);
