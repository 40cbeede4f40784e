// Peer: ws on Node, with bufferutil, the native addon its documentation recommends for speed.

const { readFileSync } = require("fs");
const http = require("http");
const https = require("https");
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

const pem = (name) => readFileSync(`${__dirname}/../build/${name}.pem`);
const listener = process.argv.includes("tls")
  ? https.createServer({ cert: pem("cert"), key: pem("key") })
  : http.createServer();
listener.listen(Number(process.argv[2]), "127.0.0.1");

const server = new WebSocketServer({
  server: listener,
  perMessageDeflate: process.argv.includes("deflate") && { threshold: 0 },
});
server.on("connection", (socket, request) => routes[request.url](socket));
