"""The service on Ray Serve. The application itself is in ``synthray.serve``."""
