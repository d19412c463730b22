// A peer for comparisons: echo and rooms on ws, the usual WebSocket library of node.
'use strict';
const { WebSocketServer } = require('ws');

const [port, mode] = process.argv.slice(2);
const rooms = new Map();
// With TLS if a folder with cert.pem and key.pem is given.
const folder = process.env.TLS_FOLDER;
const https = folder && require('https').createServer({
  cert: require('fs').readFileSync(`${folder}/cert.pem`),
  key: require('fs').readFileSync(`${folder}/key.pem`),
});
const place = { host: '127.0.0.1', port: Number(port), backlog: 4096 };
const server = new WebSocketServer({ ...(https ? { server: https } : place), perMessageDeflate: false });
if (https) https.listen(place);

server.on('connection', (socket) => {
  const mine = new Set();
  socket.on('message', (data, isBinary) => {
    if (mode === 'echo') {
      socket.send(data, { binary: isBinary });
      return;
    }
    const asked = JSON.parse(data);
    if (asked.type === 'join_room') {
      if (!rooms.has(asked.room)) rooms.set(asked.room, new Set());
      const members = rooms.get(asked.room);
      members.add(socket);
      mine.add(members);
      socket.send(JSON.stringify({ type: 'room_joined', room: asked.room, members_count: members.size }));
    } else if (asked.type === 'chat_message') {
      const { room, message } = asked;
      const said = { type: 'chat_message', room, user_id: 'u', message, timestamp: new Date().toISOString() };
      const text = Buffer.from(JSON.stringify(said));
      for (const member of rooms.get(room) ?? []) member.send(text, { binary: false });
    }
  });
  socket.on('close', () => mine.forEach((members) => members.delete(socket)));
  socket.on('error', () => {});
});
