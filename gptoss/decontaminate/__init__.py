"""Find benchmark items in documents, and drop, trim or mark these documents."""
