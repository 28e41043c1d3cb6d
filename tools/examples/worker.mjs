// A worker of a flow: answers every request with its own body, and counts what comes without one waiting.
//
//     npm install ws
//     TIDEGATE_ACCESS_TOKEN=… node worker.mjs ws://127.0.0.1:8082/flows/<flowId>/worker

import { createRequire } from "node:module";

// Beside this file, or where TIDEGATE_TEST_TOOLS says.
const tools = process.env.TIDEGATE_TEST_TOOLS;
const { WebSocket } = createRequire(tools ? `${tools}/node/` : import.meta.url)("ws");
const headers = { authorization: `Bearer ${process.env.TIDEGATE_ACCESS_TOKEN}` };

function answer(frame) {
  const { data } = frame.payload;
  if (data.replyId && "body" in data) {
    // A reply acks its trigger too.
    return { type: "reply", seq: frame.seq, replyId: data.replyId, body: { "you said": data.body } };
  }
  console.log("trigger", frame.seq, data.type ?? data.method);
  return { type: "ack", seqs: [frame.seq] };
}

function attach() {
  const engine = new WebSocket(process.argv[2], "tidegate.worker.v1", { headers });
  const say = (frame) => engine.send(JSON.stringify(frame));
  engine.on("open", () => say({ type: "ready", credit: 100 }));
  engine.on("message", (text) => {
    const frame = JSON.parse(text);
    if (frame.type === "trigger") {
      say(answer(frame));
      say({ type: "ready", credit: 1 });
    }
  });
  engine.on("error", (error) => console.error(`${error}`));
  // Attaches again whenever the connection ends; what was not acked comes again.
  engine.on("close", () => setTimeout(attach, 1000));
}

attach();
