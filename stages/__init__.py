"""What DVC runs: one module or package a stage. `docs/stages.md` lists them in pipeline order."""
