"""Raw file sizes to estimated documents, tokens and time per stage, without running anything."""
