-- The sessions of staff that go on: without its row a session ends at its next request. The id stands in the session
-- and is no way into it.
CREATE TABLE staff_sessions (
    id uuid DEFAULT gen_random_uuid() CONSTRAINT staff_sessions_pkey PRIMARY KEY,
    user_id int NOT NULL CONSTRAINT staff_sessions_user_id_fkey REFERENCES auth_user ON DELETE CASCADE,
    began_at timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL DEFAULT now(),
    address text,
    browser text,
    CONSTRAINT staff_sessions_texts_bounded CHECK (octet_length(address) <= 200 AND octet_length(browser) <= 800),
    CONSTRAINT staff_sessions_times_plausible CHECK (
        least(began_at, seen_at) >= '1970-01-01 00:00:00+00' AND greatest(began_at, seen_at) < '2200-01-01 00:00:00+00'
    )
);

CREATE INDEX staff_sessions_user_id ON staff_sessions (user_id);
