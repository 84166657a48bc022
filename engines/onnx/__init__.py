"""ONNX graphs: exported, quantized, and run by ONNX Runtime or OpenVINO."""
