-- Request ids that record_api_usage() has counted. Outside api_usage: an id stays known when its month is dropped.
-- content_hash tells a request that is sent again from another one under the same id, last seen at conflicted_at; it is
-- NULL where it was not kept.
CREATE TABLE api_usage_request_ids (
    user_id uuid NOT NULL,
    request_id text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    content_hash bigint,
    conflicted_at timestamptz,
    CONSTRAINT api_usage_request_ids_pkey PRIMARY KEY (user_id, request_id),
    CONSTRAINT api_usage_request_ids_length CHECK (length(request_id) BETWEEN 1 AND 200),
    CONSTRAINT api_usage_request_ids_times_plausible CHECK (
        least(recorded_at, conflicted_at) >= '1970-01-01 00:00:00+00'
        AND greatest(recorded_at, conflicted_at) < '2200-01-01 00:00:00+00'
    )
)
WITH (autovacuum_vacuum_insert_scale_factor = 0.05);

CREATE INDEX api_usage_request_ids_recorded_at ON api_usage_request_ids USING brin (recorded_at)
WITH (autosummarize = on);
CREATE INDEX api_usage_request_ids_conflicts ON api_usage_request_ids (conflicted_at) WHERE conflicted_at IS NOT NULL;
