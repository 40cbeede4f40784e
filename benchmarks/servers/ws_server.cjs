// Peer: ws on Node, with bufferutil, the native addon its documentation recommends for speed.

const { WebSocketServer } = require("ws");

const group = new Set();

const routes = {
  "/echo": (socket) => socket.on("message", (data, binary) => socket.send(data, { binary })),
  "/group": (socket) => {
    group.add(socket);
    socket.on("close", () => group.delete(socket));
  },
  "/publish": (socket) => socket.on("message", publish),
};

// Send the payload of `[uint16 count][payload]` to the group, `count` times.
function publish(message) {
  const payload = message.subarray(2);
  for (let left = message.readUInt16BE(0); left > 0; left--) {
    for (const member of group) member.send(payload);
  }
}

const server = new WebSocketServer({
  host: "127.0.0.1",
  port: Number(process.argv[2]),
  perMessageDeflate: process.argv[3] === "deflate" && { threshold: 0 },
});
server.on("connection", (socket, request) => routes[request.url](socket));
