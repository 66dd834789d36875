"""The statements that call the functions of staff's accounts, as `functions` has them of all."""


def _account(key: int, name: str) -> str:
    return f"""
        INSERT INTO public.auth_user (
            id, username, password, is_superuser, first_name, last_name, email, is_staff, is_active, date_joined
        )
        VALUES ({key}, '{name}', 'x', false, '', '', '', true, true, '2026-01-01T00:00:00Z')
    """


CALLS: dict[str, tuple[str, ...]] = {
    "with_account_names": ("SELECT public.with_account_names('{\"user_id\": 1}')",),
    "audit_grant": (
        """
        INSERT INTO public.auth_group_permissions (group_id, permission_id)
        SELECT (SELECT max(id) FROM public.auth_group), (SELECT max(id) FROM public.auth_permission)
        ON CONFLICT DO NOTHING
        """,
    ),
    "is_reserved_name": ("SELECT public.is_reserved_name('stripe')", "SELECT public.is_reserved_name('ada')"),
    "refuse_reserved_name": (_account(900001, "stripe"), _account(900002, "ada")),
    "end_staff_sessions": (
        "INSERT INTO public.staff_sessions (id, user_id) VALUES ('00000000-0000-4000-8000-0000000000cc', 900002)",
        "UPDATE public.auth_user SET password = 'y' WHERE username = 'ada'",
    ),
}
