"""MLflow runs, the outbox of calls to MLflow, provenance, and the runner of stages. Not part of a stage's code identity."""
