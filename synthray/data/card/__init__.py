"""The data set's card: a README.md with tables and pictures."""
