// The server of Node's tutorials.
const net = require('node:net');

const server = net.createServer({ noDelay: true }, (socket) => {
  // Every byte is a character of latin1, and the other way round.
  socket.on('data', (data) => socket.write(data.toString('latin1').toUpperCase(), 'latin1'));
  socket.on('error', () => socket.destroy());
});
server.listen({ host: '127.0.0.1', port: 0, backlog: 4096 }, () => console.log(server.address().port));
