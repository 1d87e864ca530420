"""The library that stages and flows are made of; imports only go down the list of layers in `pyproject.toml`."""
