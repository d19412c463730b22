// A peer for comparisons: echo and rooms on ws, the usual WebSocket library of node.
'use strict';
const { WebSocketServer } = require('ws');

const [port, mode] = process.argv.slice(2);
const rooms = new Map();
const server = new WebSocketServer({ host: '127.0.0.1', port: Number(port), perMessageDeflate: false, backlog: 4096 });

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
