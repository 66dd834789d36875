-- Books the difference between what the customer pays now and what the ledger says last; no difference, no row.
-- Changes of one transaction are one movement: a plan replaced by another is an expansion or contraction, no churn.
-- Two transactions cannot book for one customer at once: the unique index on live subscriptions makes the second wait.
CREATE FUNCTION book_mrr_difference(customer uuid, changed_subscription uuid, origin text DEFAULT 'change') RETURNS void
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    booked mrr_movements;
    paying record;
    came_back boolean;
BEGIN
    SELECT * INTO paying FROM paying_subscriptions AS p WHERE p.user_id = customer;
    SELECT * INTO booked FROM mrr_movements AS m WHERE m.user_id = customer ORDER BY m.id DESC LIMIT 1;

    IF booked.transaction_id = pg_current_xact_id() AND booked.origin = book_mrr_difference.origin THEN
        DELETE FROM mrr_movements AS m WHERE m.id = booked.id;
        SELECT * INTO booked FROM mrr_movements AS m WHERE m.user_id = customer ORDER BY m.id DESC LIMIT 1;
    END IF;
    came_back := booked.id IS NOT NULL;
    booked.after_cents := coalesce(booked.after_cents, 0);
    paying.mrr_cents := coalesce(paying.mrr_cents, 0);

    -- Another currency is another book: what was paid in the old one ends there.
    IF booked.after_cents > 0 AND paying.mrr_cents > 0 AND booked.currency <> paying.currency THEN
        INSERT INTO mrr_movements (
            user_id, subscription_id, kind, currency, amount_cents, before_cents, after_cents, tier_before, origin
        )
        VALUES (
            customer, booked.subscription_id, 'churn', booked.currency, -booked.after_cents, booked.after_cents, 0,
            booked.tier_after, book_mrr_difference.origin
        );
        booked.after_cents := 0;
        booked.tier_after := NULL;
    END IF;

    IF booked.after_cents = paying.mrr_cents AND booked.tier_after IS NOT DISTINCT FROM paying.tier THEN
        RETURN;
    END IF;
    INSERT INTO mrr_movements (
        user_id, subscription_id, audit_id, kind, currency, amount_cents, before_cents, after_cents,
        tier_before, tier_after, origin
    )
    VALUES (
        customer,
        coalesce(paying.subscription_id, changed_subscription, booked.subscription_id),
        (
            SELECT max(a.id) FROM audit_log AS a
            WHERE
                a.table_name = 'subscriptions' AND a.row_id = changed_subscription::text
                AND a.occurred_at >= transaction_timestamp()
        ),
        CASE
            WHEN paying.mrr_cents = 0 THEN 'churn'
            WHEN booked.after_cents = 0 THEN CASE WHEN came_back THEN 'reactivation' ELSE 'new' END
            WHEN paying.mrr_cents < booked.after_cents THEN 'contraction'
            ELSE 'expansion'
        END,
        coalesce(paying.currency, booked.currency),
        paying.mrr_cents - booked.after_cents,
        booked.after_cents,
        paying.mrr_cents,
        booked.tier_after,
        paying.tier,
        book_mrr_difference.origin
    );
END
$$;
