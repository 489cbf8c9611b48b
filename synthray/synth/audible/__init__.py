"""Which parameters of a preset can be heard."""
