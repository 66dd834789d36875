-- When a user's primary customer has left, the oldest that lives follows it; none is left of the only one.
CREATE FUNCTION follow_primary_customer() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    UPDATE users AS u
    SET
        stripe_customer_id = (
            SELECT c.stripe_customer_id
            FROM stripe_customers AS c
            WHERE c.user_id = OLD.user_id
            ORDER BY c.deleted_at IS NOT NULL, coalesce(c.created_at, c.linked_at), c.stripe_customer_id
            LIMIT 1
        )
    WHERE u.id = OLD.user_id AND (u.stripe_customer_id IS NULL OR u.stripe_customer_id = OLD.stripe_customer_id);
    RETURN NULL;
END
$$;
