"""The MLflow model registry: versions, promotion, champions, signatures, lineage and its verification.

`versions.py` registers a folder, `promotion.py` is the rule by which a version becomes champion, `champions.py` moves
the aliases and keeps their history, `signature.py` signs, `sealing.py` and `lineage.py` write and read the chain from a
version to the raw files.
"""
