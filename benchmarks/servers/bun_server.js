// Peer: Bun's own server with its native publish and subscribe.

const deflate = process.argv.includes("deflate");
const build = `${import.meta.dir}/../build`;
const tls = { cert: Bun.file(`${build}/cert.pem`), key: Bun.file(`${build}/key.pem`) };
const server = Bun.serve({
  hostname: "127.0.0.1",
  port: Number(process.argv[2]),
  tls: process.argv.includes("tls") ? tls : undefined,
  fetch(request, server) {
    const path = request.url.slice(request.url.indexOf("/", 8));
    if (server.upgrade(request, { data: path })) return;
    return new Response("upgrade needed", { status: 426 });
  },
  websocket: {
    perMessageDeflate: deflate,
    open(socket) {
      if (socket.data === "/group") socket.subscribe("group");
    },
    message(socket, message) {
      if (socket.data === "/echo") socket.send(message, deflate);
      else if (socket.data === "/publish") publish(message);
    },
  },
});

// Send the payload of `[uint16 count][payload]` to the group, `count` times.
function publish(message) {
  const payload = message.subarray(2);
  for (let left = message.readUInt16BE(0); left > 0; left--) {
    server.publish("group", payload, deflate);
  }
}
