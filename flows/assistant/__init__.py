"""An on-premises assistant from a company's own documents: `python -m flows.assistant FOLDER`."""
