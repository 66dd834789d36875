from django.apps import AppConfig


class ApprovalConfig(AppConfig):
    """What one person asks for and another has to decide.

    Another app says in its config what may be asked: `approval_kinds` maps a kind to the task that carries it out once
    it is approved, a function that the queue may run with the request's id.
    """

    name = "glyphforge.approval"
    label = "approval"
    verbose_name = "Approvals"
