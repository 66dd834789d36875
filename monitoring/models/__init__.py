"""What monitoring keeps of its own, one noun a file. The SQL under `monitoring/sql` defines it; these models follow."""

from monitoring.models.daily_figures import DailyFigures
from monitoring.models.daily_mrr import DailyMrr
from monitoring.models.job_run import JobRun
from monitoring.models.job_schedule import JobSchedule
from monitoring.models.mrr_movement import MrrMovement
from monitoring.models.worker_heartbeat import WorkerHeartbeat

__all__ = ["DailyFigures", "DailyMrr", "JobRun", "JobSchedule", "MrrMovement", "WorkerHeartbeat"]
