// Streams a file and prints the words as they come: node stream.mjs query.wav [host:port]
import { createReadStream } from "node:fs";
import { connect } from "./speech.mjs";

const [file, address] = process.argv.slice(2);
if (!file) {
  console.error("usage: node stream.mjs FILE [HOST:PORT]");
  process.exit(2);
}
const call = connect(address, process.env.DENGAR_PROTO).StreamingRecognize();
call.write({ streaming_config: { config: { enable_word_time_offsets: true }, interim_results: true } });
createReadStream(file, { highWaterMark: 16_384 })
  .on("data", (packet) => call.write({ audio_content: packet }))
  .on("end", () => call.end())
  .on("error", (error) => { console.error(error.message); call.cancel(); process.exitCode = 1; });

call.on("data", ({ results }) => {
  for (const { is_final, alternatives } of results) {
    console.log(is_final ? "final  " : "interim", alternatives[0].transcript);
  }
});
call.on("error", ({ code, details }) => { console.error(`error ${code}: ${details}`); process.exitCode = 1; });
