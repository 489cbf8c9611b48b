"""The HTTP service: application, request and response formats, hot swap of the model, and the web page."""
