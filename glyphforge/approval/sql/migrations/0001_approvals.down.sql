-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

DROP TRIGGER audit ON approvals;
DROP TRIGGER keep_approval ON approvals;

DROP FUNCTION require_approval;

DROP TABLE approvals;

DROP FUNCTION keep_approval;
