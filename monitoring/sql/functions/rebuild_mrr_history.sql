-- Writes the ledger anew from the subscriptions and what the audit log says of their changes, then every day's
-- snapshot: for data that was loaded with its past, as a demo or an import. The number of movements.
-- Loses what only the ledger knows (changes that the audit log has dropped, subscriptions whose rows are gone), so
-- recorded changes are replaced only when asked to.
CREATE FUNCTION rebuild_mrr_history(replace_recorded boolean DEFAULT false) RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('reconcile_mrr', 0));
    IF NOT coalesce(replace_recorded, false) AND EXISTS (SELECT FROM mrr_movements WHERE origin = 'change') THEN
        RAISE EXCEPTION 'rebuild_mrr_history: the ledger holds recorded changes, which the rebuilt one would lose'
            USING HINT = 'rebuild_mrr_history(true) replaces them.';
    END IF;
    PERFORM set_config('app.rebuild_mrr_history', 'on', true);
    DELETE FROM mrr_movements;
    PERFORM set_config('app.rebuild_mrr_history', 'off', true);
    INSERT INTO mrr_movements (
        occurred_at, user_id, subscription_id, kind, currency, amount_cents, before_cents, after_cents,
        tier_before, tier_after, origin
    )
    SELECT
        h.occurred_at, h.user_id, h.subscription_id, h.kind, h.currency, h.after_cents - h.before_cents,
        h.before_cents, h.after_cents, h.tier_before, h.tier_after, 'history'
    FROM mrr_history(NULL) AS h;
    PERFORM reconcile_mrr();
    DELETE FROM daily_mrr;
    PERFORM refresh_all_days();
    RETURN (SELECT count(*) FROM mrr_movements);
END
$$;
