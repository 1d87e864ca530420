"""The report: facts that follow from the inputs, the history of the runs, and pages made from both."""
