"""Personal data in text: what is recognised, and what replaces it."""
