"""What deduplication and decontamination share: normalisation, n-grams, spans."""
