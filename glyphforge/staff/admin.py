"""What the installed sign-in packages register on their own is taken down: tokens and secrets have no page.

Accounts and roles have pages of their own, in `glyphforge.staff.accounts`.
"""

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from django.contrib import admin

from glyphforge.staff import accounts  # noqa: F401 - registers its pages

for model in (EmailAddress, Authenticator, SocialAccount, SocialApp, SocialToken):
    if admin.site.is_registered(model):
        admin.site.unregister(model)
