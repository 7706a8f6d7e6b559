"""References pi0: tables, the shipped transformer, and models of the Hugging Face hub."""
