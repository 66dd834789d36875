-- How full each place is, one sample an hour: free_bytes is NULL where the disk cannot be seen from the host.
CREATE TABLE disk_samples (
    host text NOT NULL,
    place text NOT NULL,
    sampled_at timestamptz NOT NULL,
    used_bytes bigint NOT NULL,
    free_bytes bigint,
    CONSTRAINT disk_samples_pkey PRIMARY KEY (place, host, sampled_at),
    CONSTRAINT disk_samples_not_negative CHECK (used_bytes >= 0 AND free_bytes >= 0),
    CONSTRAINT disk_samples_texts_bounded CHECK (octet_length(host) <= 255 AND octet_length(place) <= 255),
    CONSTRAINT disk_samples_times_plausible CHECK (
        sampled_at >= '1970-01-01 00:00:00+00' AND sampled_at < '2200-01-01 00:00:00+00'
    )
);
