"""From URLs to bytes: fsspec, package archives, archives, compression, charsets."""
