"""The pages of monitoring, one noun a file."""

from monitoring.admin import alert, job, job_run, queue

__all__ = ["alert", "job", "job_run", "queue"]
