"""Where requests go."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

handler500 = "glyphforge.web.errors.server_error"
urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", include("glyphforge.staff.urls")),
    path("admin/", admin.site.urls),
    path("", include("billing.urls")),
    path("", include("monitoring.urls")),
]
