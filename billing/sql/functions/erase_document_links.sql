-- Documents at Stripe say who paid: an erased customer's rows do not lead there.
CREATE FUNCTION erase_document_links() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM users AS u WHERE u.id = new.user_id AND u.erased_at IS NOT NULL) THEN
        new := jsonb_populate_record(new, (
            SELECT jsonb_object_agg(m.name, NULL) FROM unnest(TG_ARGV) AS m (name)
        ));
    END IF;
    RETURN new;
END
$$;
