"""The served models: the stable one and the canary, how they are loaded, and how they are swapped."""
