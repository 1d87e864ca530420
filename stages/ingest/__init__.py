"""Raw files in their native formats to documents: one module a format, one for where files come from."""
