"""How good a model is: scores per parameter beside always guessing the same, and the distance between sounds."""
