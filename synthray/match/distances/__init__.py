"""Distances between sounds, as papers about sound matching report them.

``table.py`` lists them and measures all of them at once.
"""
