"""Where the progress of a training is shown: terminal, TensorBoard, MLflow."""
