#!/bin/sh
# Recognises a recording from the shell, with grpcurl and nothing else: the server tells its contract by reflection.
# Usage: grpcurl.sh query.wav [host:port]
set -eu
file=$1 address=${2:-127.0.0.1:50051}

# A whole recording. Through standard input, since a long one exceeds the shell's limit for an argument.
printf '{"audio": {"content": "%s"}}' "$(base64 -w0 "$file")" |
  grpcurl -plaintext -d @ "$address" dengar.v1.Speech/Recognize

# The same as a stream: the configuration first, then the audio in packets (base64 of 30,000 bytes has 40,000 letters).
{
  printf '{"streaming_config": {"config": {}, "interim_results": true}}\n'
  base64 -w40000 "$file" | while IFS= read -r packet || [ -n "$packet" ]; do printf '{"audio_content": "%s"}\n' "$packet"; done
} | grpcurl -plaintext -d @ "$address" dengar.v1.Speech/StreamingRecognize
