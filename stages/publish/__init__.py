"""Publish: trained weights to a float16 folder that stock `AutoModelForCausalLM.from_pretrained` loads."""
