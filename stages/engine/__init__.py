"""Run the steps of a data stage as tasks over files, on the cores of one machine or on a Ray cluster."""
