"""An assistant from a folder of documents: check the base model, fine-tune it, measure what it knows."""
