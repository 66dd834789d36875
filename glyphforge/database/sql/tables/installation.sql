-- Which database was told to be production, in its one row. A backup takes the row along: where it is found in another
-- database than it names, that one is a copy.
CREATE TABLE installation (
    only_row boolean PRIMARY KEY DEFAULT true CONSTRAINT installation_one_row CHECK (only_row),
    system_identifier bigint NOT NULL,
    table_oid bigint NOT NULL,
    database_name text NOT NULL,
    adopted_at timestamptz NOT NULL DEFAULT now(),
    adopted_by text NOT NULL,
    CONSTRAINT installation_times_plausible CHECK (
        adopted_at >= '1970-01-01 00:00:00+00' AND adopted_at < '2200-01-01 00:00:00+00'
    )
);
