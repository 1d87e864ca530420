"""Readers of raw formats: one module per format behind one interface (`gptoss.formats.records`)."""
