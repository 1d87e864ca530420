"""The report: deterministic facts, observations of the run, and the pages made from both."""
