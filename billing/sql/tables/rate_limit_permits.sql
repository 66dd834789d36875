-- What callers under repeatable read and serializable counted: one row a request, numbered from 1 in its window, of
-- the key (a minute) or the user (a month) that holder names. Such a caller's snapshot is older than its turn, so it
-- can neither read nor change a count that others change; but the unique index tells it which numbers are taken,
-- whatever its snapshot. It never reads this table, so that serializable transactions do not conflict over it. Number
-- -1 says that the window has a row in rate_limits. Unlogged as rate_limits is.
CREATE SEQUENCE rate_limit_permits_seq;

CREATE UNLOGGED TABLE rate_limit_permits (
    holder uuid NOT NULL,
    window_start timestamptz NOT NULL,
    window_seconds bigint NOT NULL,
    number bigint NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT rate_limit_permits_pkey PRIMARY KEY (holder, window_seconds, window_start, number),
    CONSTRAINT rate_limit_permits_window_positive CHECK (window_seconds > 0),
    CONSTRAINT rate_limit_permits_number_known CHECK (number > 0 OR number = -1),
    CONSTRAINT rate_limit_permits_expires_after_start CHECK (expires_at > window_start),
    CONSTRAINT rate_limit_permits_times_plausible CHECK (
        least(window_start, expires_at) >= '1970-01-01 00:00:00+00'
        AND greatest(window_start, expires_at) < '2200-01-01 00:00:00+00'
    )
)
WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

ALTER SEQUENCE rate_limit_permits_seq OWNED BY rate_limit_permits.number;

CREATE INDEX rate_limit_permits_expires_at ON rate_limit_permits (expires_at);
