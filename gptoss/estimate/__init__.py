"""What a run will need, before it runs: raw files and their sizes, documents, text, tokens and time per data stage."""
