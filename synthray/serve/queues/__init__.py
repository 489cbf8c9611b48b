"""Bounded queues between requests and the threads that predict, match and render."""
