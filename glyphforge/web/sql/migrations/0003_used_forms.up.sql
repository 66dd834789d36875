-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

--! tables/used_forms
-- Which renderings of a form were confirmed: each is carried out once, however often it is sent. Kept for a day, longer
-- than a session lasts.
CREATE TABLE used_forms (
    token text CONSTRAINT used_forms_pkey PRIMARY KEY,
    used_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT used_forms_texts_bounded CHECK (octet_length(token) <= 100),
    CONSTRAINT used_forms_times_plausible CHECK (
        used_at >= '1970-01-01 00:00:00+00' AND used_at < '2200-01-01 00:00:00+00'
    )
);

CREATE INDEX used_forms_used_at ON used_forms (used_at);
