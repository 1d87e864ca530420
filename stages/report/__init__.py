"""The report: what a person opens after a run. `facts.json` is deterministic; the pages add what was observed."""
