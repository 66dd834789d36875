"""`worker_heartbeats`: the queue's processes, each a row that it keeps up to date while it lives."""

from django.db import models
from django.db.models.functions import Now

from glyphforge.rows import uuid_key


class WorkerHeartbeat(models.Model):
    """The last sign of life of one process of the queue; written by `monitoring.worker.heartbeat`."""

    class Role(models.TextChoices):
        PUSHER = "pusher", "Pusher"
        WORKER = "worker", "Worker"

    id = uuid_key()
    host = models.TextField()
    pid = models.IntegerField()
    cluster_pid = models.IntegerField()
    role = models.TextField(choices=Role.choices)
    started_at = models.DateTimeField(db_default=Now())
    seen_at = models.DateTimeField(db_default=Now())
    pulled_at = models.DateTimeField(null=True, help_text="When a pusher last handed a task to the workers.")
    task = models.TextField(null=True, help_text="What the worker is busy with.")
    task_deadline_at = models.DateTimeField(null=True)
    stopped_at = models.DateTimeField(null=True, help_text="When it was told to stop, or was ended for hanging.")

    class Meta:
        db_table = "worker_heartbeats"
        constraints = [models.UniqueConstraint(fields=["host", "pid"], name="worker_heartbeats_process")]
        verbose_name = "worker"
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.role} {self.host}:{self.pid}"
