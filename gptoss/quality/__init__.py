"""What tells text from noise: quality rules, language, repeated lines, URLs, toxicity."""
