"""The calls of what seals, erases, approves and searches for a person; a part of `tests.support.functions`."""

from datetime import date


def calls(user: str, today: date) -> dict[str, tuple[str, ...]]:
    """The statements that call each function, on the rows of `functions.prepare`."""
    return {
        "write_audit": ("SELECT public.write_audit('note', 'users', '1', NULL, '{\"a\": 1}')",),
        "audit_digest": ("SELECT public.audit_digest(NULL)",),
        "erase_audit_values": ("SELECT public.erase_audit_values('{}')",),
        "audit_digests": ("SELECT count(*) FROM public.audit_digests(1, 100)",),
        "seal_hash": ("SELECT public.seal_hash(NULL)",),
        "keep_approval": (
            f"""
            INSERT INTO public.approvals (kind, subject, summary, asked_by, reason)
            VALUES ('erase_customer', '{user}', 'Erase', 'ada', 'asked by letter')
            """,
            "UPDATE public.approvals SET asked_by = 'grace'",
            "UPDATE public.approvals SET state = 'done'",
            """
            UPDATE public.approvals
            SET state = 'approved', decided_by = 'grace', decided_at = '2026-01-01T00:00:00Z', decision_reason = 'x'
            """,
        ),
        "require_approval": ("SELECT FROM public.require_approval('erase_customer', 'nobody')",),
        "personal_values": ('SELECT public.personal_values(\'{"email": "a@b", "line1": "1 Road"}\')',),
        "personal_terms": (f"SELECT public.personal_terms('{user}')",),
        "personal_pattern": ("SELECT public.personal_pattern('{a.b@c.example,Ada Lovelace}')",),
        "erased_text": ("SELECT public.erased_text('by ADA@b.example.', 'ada@b[.]example')",),
        "erased_json": ("SELECT public.erased_json('{\"a\": [\"Ada\", 1, null]}', 'ada')",),
        "erased_stripe": ('SELECT public.erased_stripe(\'{"id": "ch_1", "name": "A", "paid": true, "x": ["A"]}\')',),
        "nameless": ("SELECT public.nameless('users', '{\"name\": \"A\"}')",),
        "events_of_customer": (f"SELECT count(*) FROM public.events_of_customer('{user}')",),
        "is_of_erased": ('SELECT public.is_of_erased(\'{"customer": "cus_ada"}\')',),
        "erased_audit_rows": (f"SELECT count(*) FROM public.erased_audit_rows('{user}')",),
        "erase_audit_of": (f"SELECT public.erase_audit_of('{user}')",),
        "erase_usage_of": (f"SELECT public.erase_usage_of('{user}')",),
        "keep_erased": (f"UPDATE public.users SET erased_at = '{today}T00:00:00+00' WHERE id = '{user}'",),
        "refuse_unerasing": ("UPDATE public.users SET erased_at = NULL",),
        "erase_document_links": (
            "UPDATE public.payment_history SET invoice_url = 'https://x.example', receipt_url = 'https://x.example'",
        ),
        "erase_arriving": (
            """UPDATE public.stripe_webhook_events SET payload = '{"data": {"object": {"customer": "cus_ada"}}}'""",
        ),
    }
