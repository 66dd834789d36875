-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

DROP TRIGGER audit ON socialaccount_socialaccount;

DROP TRIGGER audit_update ON mfa_authenticator;
DROP TRIGGER audit ON mfa_authenticator;

DROP TRIGGER audit ON auth_user_user_permissions;

DROP TRIGGER audit ON auth_user_groups;

DROP TRIGGER audit ON auth_user;

DROP TRIGGER audit ON auth_permission;

DROP TRIGGER audit ON auth_group_permissions;

DROP TRIGGER audit ON auth_group;

DROP TRIGGER audit ON account_emailaddress;

DROP FUNCTION with_account_names;

DROP FUNCTION audit_grant;
