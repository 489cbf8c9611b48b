"""Networks, heads, losses and saved models. Keras 3 (never ``tf.keras``)."""
