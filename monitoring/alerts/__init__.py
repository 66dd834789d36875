"""Alerts as a state machine: what the checks see becomes episodes, and episodes become messages.

`v_alerts` says what is wrong now. `evaluation` keeps one episode per fingerprint and decides when somebody must be
told; the state change and the message to send are rows of one transaction, and the notifications' outbox delivers.
`triage` is what staff do.
"""
