"""The Cognito user pool: read, and customers synced from it."""
