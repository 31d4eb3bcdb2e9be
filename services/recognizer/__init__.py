"""The speech server: gRPC in front of `asr.recognize`."""
