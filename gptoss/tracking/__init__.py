"""MLflow runs, the outbox of calls to MLflow, provenance, and the runner of stages. Changes no result."""
