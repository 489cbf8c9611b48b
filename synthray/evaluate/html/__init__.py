"""The evaluation as one HTML file with sounds, spectrograms, plots and tables, which needs no network and no server.

``render_report`` in ``page.py`` makes it from an ``Evaluation``. Nothing is measured here.
"""
