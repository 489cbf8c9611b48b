"""The description of the service: an OpenAPI 3.1 document for tools, and the same as a web page for people."""
