-- How full each place is, one sample an hour: free_bytes is NULL where the disk cannot be seen from the host.
CREATE TABLE disk_samples (
    host text NOT NULL,
    place text NOT NULL,
    sampled_at timestamptz NOT NULL,
    used_bytes bigint NOT NULL,
    free_bytes bigint,
    CONSTRAINT disk_samples_pkey PRIMARY KEY (place, host, sampled_at),
    CONSTRAINT disk_samples_not_negative CHECK (used_bytes >= 0 AND free_bytes >= 0)
);
