DROP TABLE worker_heartbeats;
DROP TABLE job_schedules;
DROP TABLE job_runs;
