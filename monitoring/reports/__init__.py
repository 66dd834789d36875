"""The daily report: what the last day came to, against the day and the week before."""

from monitoring.reports.building import build_report
from monitoring.reports.rendering import render_html, render_slack, render_text
from monitoring.reports.sending import close_day, send

__all__ = ["build_report", "close_day", "render_html", "render_slack", "render_text", "send"]
