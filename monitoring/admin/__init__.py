"""The pages of monitoring, one noun a file."""

from monitoring.admin import alert, customer, job, job_run, queue

__all__ = ["alert", "customer", "job", "job_run", "queue"]
