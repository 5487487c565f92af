-- Version 1 of the tables of resilient-postgres.
-- `PostgresStore::migrate` runs this file. To run it by hand: psql --single-transaction --file=0001_create.sql
-- With another schema or table name, use the text that `Config::migrations` returns.

CREATE TABLE public.resilient_idempotency (
    -- SHA-256 of the name of the component, a zero byte, and the key of the caller.
    key bytea PRIMARY KEY,
    -- The hash of the payload.
    fingerprint uuid NOT NULL,
    -- The operation, such as the path of a function; empty if unknown.
    operation text NOT NULL,
    -- The call that claimed the key.
    owner uuid NOT NULL,
    -- Until when the call holds the key, if `result` is null.
    lease_until timestamptz NOT NULL,
    -- When the record counts as missing and may be deleted.
    expires_at timestamptz NOT NULL,
    -- The result; null until the call has completed.
    result bytea
) WITH (fillfactor = 80);

CREATE INDEX resilient_idempotency_expires_at ON public.resilient_idempotency (expires_at);

CREATE TABLE public.resilient_idempotency_version (
    version integer PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
);

INSERT INTO public.resilient_idempotency_version (version) VALUES (1);
