"""Taking over a Stripe account that has a past: its lists, page by page, 100 objects an answer."""

from django.dispatch import Signal

# Sent with `user_id` in the transaction that writes subscriptions of a customer, whose past is known then.
past_of_customer = Signal()
# Sent in a transaction at the end of a takeover that has added something.
past_of_account = Signal()
