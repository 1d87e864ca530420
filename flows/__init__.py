"""What Prefect runs, and nothing else: the flow of the whole pipeline and the flow that builds an assistant."""
