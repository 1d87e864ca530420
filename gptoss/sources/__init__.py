"""From the URLs of a source to the bytes of its raw files: resolution, download, package archives, compression."""
