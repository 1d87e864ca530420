"""What Prefect runs (`pipeline`), and what a person runs beside it: `lineage`, `ui`, `chat`, `profile`."""
