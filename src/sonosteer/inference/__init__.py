"""Trained networks answer here, through ONNX Runtime and without PyTorch."""
