// For a browser, which does not speak gRPC: relays what a page's MediaRecorder records (WebM/Opus, as it is) to the
// server, and results back. A socket is a WebSocket of the page, for instance of the package "ws".
import { connect } from "./speech.mjs";

export function relay(socket, speech = connect()) {
  const call = speech.StreamingRecognize();
  call.write({ streaming_config: { config: { encoding: "WEBM_OPUS" }, interim_results: true } });
  socket.on("message", (packet, isBinary) => (isBinary ? call.write({ audio_content: packet }) : call.end()));
  socket.on("close", () => call.cancel());
  call.on("data", ({ results }) => {
    for (const { is_final, alternatives } of results) socket.send(JSON.stringify([is_final, alternatives[0].transcript]));
  });
  call.on("error", (error) => socket.close(1011, error.details.slice(0, 120)));
  call.on("end", () => socket.close());
}
