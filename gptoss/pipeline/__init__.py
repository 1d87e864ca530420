"""What the pipeline flow is made of: the stage graph read from DVC, stage processes, Prefect, MLflow."""
