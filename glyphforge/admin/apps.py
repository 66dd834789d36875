from django.apps import AppConfig


class BackofficeConfig(AppConfig):
    """The look and the building blocks of every page."""

    name = "glyphforge.admin"
    label = "backoffice"
    verbose_name = "Back office"

    def ready(self) -> None:
        """Say once, in `lists.css`, what Unfold says in each cell of a list: it was two thirds of the page's bytes.

        And let the command palette name pages as navigation does: `glyphforge.admin.palette` finds them. A place says
        itself whether it is open; Unfold would look through all tabs for each, at 30 ms a page.
        """
        from unfold import widgets  # noqa: PLC0415 - not before the apps are there
        from unfold.sites import UnfoldAdminSite  # noqa: PLC0415
        from unfold.templatetags import unfold_list  # noqa: PLC0415

        UnfoldAdminSite._search_apps = lambda *_: []  # noqa: SLF001 - there is no setting for it
        UnfoldAdminSite._get_is_tab_active = lambda *_: False  # noqa: SLF001 - nor for this

        unfold_list.ROW_CLASSES[:] = ["gf-cell"]
        unfold_list.CHECKBOX_CLASSES[:] = ["gf-cell", "action-checkbox"]
        widgets.CHECKBOX_CLASSES[:] = ["gf-check"]
