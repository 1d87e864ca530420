"""What DVC runs: one module or package a stage. `stages/README.md` lists them in pipeline order."""
