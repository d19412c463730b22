// A peer for comparisons: echo and rooms on socket.io, over its WebSocket transport alone.
'use strict';
const { createServer } = require('http');
const { Server } = require('socket.io');

const [port] = process.argv.slice(2);
const http = createServer();
const io = new Server(http, { transports: ['websocket'], perMessageDeflate: false, maxHttpBufferSize: 64 << 20 });

io.on('connection', (socket) => {
  socket.on('echo', (text) => socket.emit('echo', text));
  socket.on('join', (room) => {
    socket.join(room);
    socket.emit('joined', room);
  });
  socket.on('leave', (room) => {
    socket.leave(room);
    socket.emit('left', room);
  });
  socket.on('say', (room, text) => io.to(room).emit('said', { room, user_id: 'u', message: text, timestamp: new Date() }));
});
http.listen({ host: '127.0.0.1', port: Number(port), backlog: 4096 });
