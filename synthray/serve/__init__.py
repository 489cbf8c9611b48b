"""The model behind an address: predictor, HTTP application, and the adapter that runs both on Ray Serve."""
