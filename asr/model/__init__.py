"""The acoustic model: two encoders under one recurrent CTC head; its export to ONNX."""
