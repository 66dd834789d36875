-- What the back office needs: notes about customers, and an index for every sort, filter and search that it offers.
CREATE EXTENSION IF NOT EXISTS pg_trgm;

-- What staff want the next person to know about a customer. Written once; a correction is another note.
CREATE TABLE customer_notes (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL CONSTRAINT customer_notes_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    author text NOT NULL CONSTRAINT customer_notes_author_given CHECK (author <> ''),
    body text NOT NULL CONSTRAINT customer_notes_body_given CHECK (body <> ''),
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX customer_notes_user_id ON customer_notes (user_id, created_at DESC);

CREATE INDEX users_status ON users (status, created_at DESC);

CREATE INDEX subscriptions_created_at ON subscriptions (created_at);
CREATE INDEX subscriptions_status ON subscriptions (status, created_at DESC);
CREATE INDEX subscriptions_tier ON subscriptions (tier, created_at DESC);

CREATE INDEX api_keys_created_at ON api_keys (created_at);
CREATE INDEX api_keys_environment ON api_keys (environment, created_at DESC);
CREATE INDEX api_keys_revoked ON api_keys (created_at DESC) WHERE revoked_at IS NOT NULL;

CREATE INDEX payment_history_created_at ON payment_history (created_at);
CREATE INDEX payment_history_status ON payment_history (status, created_at DESC);

CREATE INDEX stripe_webhook_events_status ON stripe_webhook_events (status, received_at DESC);

CREATE INDEX audit_log_table ON audit_log (table_name, occurred_at);

-- Finding a customer by any part of an address or a name, as Django writes it: UPPER(column) LIKE UPPER('%abc%').
CREATE INDEX users_trigrams ON users USING gin (upper(email) gin_trgm_ops, upper(name) gin_trgm_ops);
