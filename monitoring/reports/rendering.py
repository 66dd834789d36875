"""A report as text, as HTML and as Slack blocks."""

from django.template.loader import render_to_string

from glyphforge.rows import Json
from monitoring.notifications import links, slack
from monitoring.reports.report import CHART_DAYS, Figure, Report


def render_text(report: Report) -> str:
    """Write the report as plain text, for a terminal and for mail clients without HTML."""
    lines = [f"Glyph Forge, {report.day:%A, %d %B %Y} (UTC)", report.headline]
    for section in report.sections:
        lines += ["", section.title, "-" * len(section.title)]
        if section.figures:
            lines.append(f"{'':<20}{'':>14}{'day before':>14}{'week before':>14}")
        lines += [
            f"{row.label:<20}{row.value:>14}{row.day_before.text:>14}{row.week_before.text:>14}"
            for row in section.figures
        ]
        lines += [f"* {line}" for line in section.lines]
    lines += ["", f"Last {CHART_DAYS} days", "-" * 12]
    lines += [f"{trend.title:<12}{trend.text}  {trend.first} to {trend.last}" for trend in report.trends]
    return "\n".join(lines) + "\n"


def render_html(report: Report) -> str:
    """Write the report as an e-mail: tables and inline styles only, which every mail client shows."""
    context = {"report": report, "dashboard": links.absolute(links.dashboard()), "inbox": links.absolute(links.inbox())}
    return render_to_string("monitoring/mail/report.html", context)


def render_slack(report: Report) -> Json:
    """Write the report as a Slack message, a payload for `slack.post`."""
    blocks = [slack.header(f"Daily report, {report.day:%A %d %B}"), slack.context(slack.escape(report.headline))]
    for section in report.sections:
        text = f"*{section.title}*\n"
        if section.figures:
            rows = "\n".join(_slack_row(row) for row in section.figures)
            text += f"```{slack.escape(rows)}```\n"
        text += "\n".join(f"• {slack.escape(slack.clip(line, 250))}" for line in section.lines)
        blocks.append(slack.section(text))
    trends = "\n".join(f"{trend.title:<10}{trend.text} {trend.last}" for trend in report.trends)
    if trends:
        blocks.append(slack.section(f"*Last {CHART_DAYS} days*\n```{slack.escape(trends)}```"))
    blocks.append(slack.buttons(("Open the dashboard", links.dashboard())))
    return slack.message(f"Daily report, {report.day}: {slack.escape(report.headline)}", blocks)


def _slack_row(row: Figure) -> str:
    return f"{row.label:<17}{row.value:>11}  {row.day_before.text:>9} {row.week_before.text:>9}"
