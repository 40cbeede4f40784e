// The client of `ws`: sends each message, waits for its echo, closes, and writes what it saw.
// node ws_client.cjs URL CA COMPRESSION; its standard input is a list of strings in JSON.
const fs = require("fs");
const WebSocket = require("ws");

const [url, ca, compression] = process.argv.slice(2);
const wanted = JSON.parse(fs.readFileSync(0));
const echoes = [];
const socket = new WebSocket(url, {
    ca: ca ? fs.readFileSync(ca) : undefined,
    perMessageDeflate: compression === "true",
});
socket.on("open", () => socket.send(wanted[0]));
socket.on("message", (data) => {
    echoes.push(data.toString());
    if (echoes.length < wanted.length) socket.send(wanted[echoes.length]);
    else socket.close(1000);
});
socket.on("close", (code) => {
    process.stdout.write(JSON.stringify({ echoes, extensions: socket.extensions, code }));
});
