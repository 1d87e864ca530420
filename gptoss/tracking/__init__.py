"""MLflow runs and their outbox, provenance, the runner of stages. Not part of a stage's code identity."""
