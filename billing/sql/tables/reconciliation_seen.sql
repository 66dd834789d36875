-- What Stripe listed during a run: whatever we have beside it is asked for one by one. Emptied when the run ends.
CREATE TABLE reconciliation_seen (
    run_id uuid NOT NULL
    CONSTRAINT reconciliation_seen_run_id_fkey REFERENCES reconciliation_runs (id) ON DELETE CASCADE,
    stripe_id text NOT NULL,
    PRIMARY KEY (run_id, stripe_id),
    CONSTRAINT reconciliation_seen_id_short CHECK (octet_length(stripe_id) <= 255)
);
