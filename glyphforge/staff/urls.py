"""Sign-in, under /admin/. The names are those that django-allauth looks up."""

from django.urls import path
from django.views.generic import RedirectView

from glyphforge.staff import views

SSO = {"provider_id": "sso"}  # the only one; allauth wants it named

urlpatterns = [
    path("login/", views.SignIn.as_view(), name="account_login"),
    path("login/code/", views.SecondFactor.as_view(), name="mfa_authenticate"),
    path("login/sso/", views.single_sign_on, SSO, name="openid_connect_login"),
    path("login/sso/callback/", views.single_sign_on_callback, SSO, name="openid_connect_callback"),
    path("login/cancelled/", RedirectView.as_view(pattern_name="admin:login"), name="socialaccount_login_cancelled"),
    path("security/", views.Security.as_view(), name="mfa_index"),
    path("security/password/", views.PasswordAgain.as_view(), name="account_reauthenticate"),
    path("password_change/", views.OwnPassword.as_view(), name="staff_password"),  # in the place of the admin's
    path("security/passkey/", views.PasskeyAgain.as_view(), name="mfa_reauthenticate_webauthn"),
    path("security/passkeys/add/", views.AddPasskey.as_view(), name="mfa_add_webauthn"),
    path("security/passkeys/<int:pk>/remove/", views.RemovePasskey.as_view(), name="mfa_remove_webauthn"),
    path("security/sessions/end/", views.end_sessions, name="staff_end_sessions"),
    path("security/code/", views.SecondFactorAgain.as_view(), name="mfa_reauthenticate"),
    path("security/set-up/", views.Enrol.as_view(), name="mfa_activate_totp"),
    path("security/remove/", views.Remove.as_view(), name="mfa_deactivate_totp"),
    path("security/recovery-codes/", views.RecoveryCodes.as_view(), name="mfa_view_recovery_codes"),
    path("security/recovery-codes/new/", views.NewRecoveryCodes.as_view(), name="mfa_generate_recovery_codes"),
]
