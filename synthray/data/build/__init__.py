"""From a source of examples to a published data set."""
