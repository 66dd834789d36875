-- What staff want the next person to know about a customer. Written once; a correction is another note.
CREATE TABLE customer_notes (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL CONSTRAINT customer_notes_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    author text NOT NULL CONSTRAINT customer_notes_author_given CHECK (author <> ''),
    body text NOT NULL CONSTRAINT customer_notes_body_given CHECK (body <> ''),
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX customer_notes_user_id ON customer_notes (user_id, created_at DESC);
