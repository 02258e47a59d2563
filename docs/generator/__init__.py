"""The pages of docs/reference that are made from the code, one room a page. `docs/generate.py` writes them."""
