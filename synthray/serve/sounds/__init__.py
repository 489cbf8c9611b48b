"""Requests with sounds and presets: ``:match``, ``:render``, ``:analyse``."""
