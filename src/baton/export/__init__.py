"""Trained models as graphs for onnxruntime or OpenVINO: traced, quantized, compared and chosen."""
