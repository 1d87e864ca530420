"""What DVC runs: one module per stage. `docs/stages.md` lists them in pipeline order."""
