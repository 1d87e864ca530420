"""The MLflow model registry: versions, champions, signatures, lineage and its verification."""
