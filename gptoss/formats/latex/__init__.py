"""LaTeX sources of papers to text."""
