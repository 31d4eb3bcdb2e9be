// A client of dengar.v1.Speech, made at run time from the contract in proto/.
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

export function connect(address = "127.0.0.1:50051", protos = new URL("../../../proto", import.meta.url).pathname) {
  const contract = loader.loadSync("dengar/v1/speech.proto", { includeDirs: [protos], keepCase: true, defaults: true });
  const { dengar } = grpc.loadPackageDefinition(contract);
  return new dengar.v1.Speech(address, grpc.credentials.createInsecure());
}
