"""`cognito_sync_cursors`: kept by `billing.cognito.sync` while a pass over the pool is unfinished."""

from django.db import models
from django.db.models.functions import Now


class CognitoSyncCursor(models.Model):
    """How far an interrupted pass over a Cognito user pool came."""

    user_pool_id = models.TextField(primary_key=True)
    page_token = models.TextField()
    pages = models.IntegerField()
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "cognito_sync_cursors"

    def __str__(self) -> str:
        return f"{self.user_pool_id}: {self.pages} pages"
