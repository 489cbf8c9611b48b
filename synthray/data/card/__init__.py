"""The card of a data set: a README.md with facts, tables, charts and pictures."""
