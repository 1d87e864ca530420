"""Parts of the pipeline flow: DVC's stage graph, stage processes, Prefect's settings, MLflow's parent run."""
