-- What staff want the next person to know about a customer. Written once; a correction is another note.
CREATE TABLE customer_notes (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL CONSTRAINT customer_notes_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    author text NOT NULL CONSTRAINT customer_notes_author_given CHECK (author <> ''),
    body text NOT NULL CONSTRAINT customer_notes_body_given CHECK (body <> ''),
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT customer_notes_texts_bounded CHECK (octet_length(author) <= 800 AND octet_length(body) <= 8192),
    CONSTRAINT customer_notes_times_plausible CHECK (
        created_at >= '1970-01-01 00:00:00+00' AND created_at < '2200-01-01 00:00:00+00'
    )
);

CREATE INDEX customer_notes_user_id ON customer_notes (user_id, created_at DESC);
