"""Words, n-gram hashes and spans of text: what deduplication and decontamination share."""
