"""The watch over billing: views, health, alerts, jobs, reports and the dashboard. It reads billing."""
