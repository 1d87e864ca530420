"""LaTeX sources of papers to text: archives of submissions, the files of a paper, its macros, its text."""
