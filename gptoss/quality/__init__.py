"""What distinguishes text from noise: quality rules, language, repeated lines, addresses, listed words."""
