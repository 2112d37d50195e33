// A backend on Node's socket.io, as plain as backends are. Settings in the one argument, JSON:
// {port, token, cert, key, ca, acknowledge, transports, pingInterval, pingTimeout, silent, early}.
// Writes a JSON line for everything that happens, reads JSON lines with what to do.
const fs = require('fs');
const settings = JSON.parse(process.argv[2]);
const { Server } = require('socket.io');
const tell = (line) => fs.writeSync(1, JSON.stringify(line) + '\n');
let http;
if (settings.cert) {
  http = require('https').createServer({
    cert: fs.readFileSync(settings.cert), key: fs.readFileSync(settings.key),
    ca: settings.ca ? fs.readFileSync(settings.ca) : undefined,
    requestCert: !!settings.ca, rejectUnauthorized: !!settings.ca,
  });
} else {
  http = require('http').createServer();
}
const io = new Server(http, {
  transports: settings.transports || ['polling', 'websocket'],
  pingInterval: settings.pingInterval || 25000, pingTimeout: settings.pingTimeout || 20000,
});
if (settings.token) {
  io.use((socket, next) => {
    if (socket.handshake.auth.token === settings.token) next();
    else { tell({ refused: true }); next(new Error('unauthorized')); }
  });
}
io.on('connection', (socket) => {
  tell({ connected: socket.id, auth: socket.handshake.auth, header: socket.handshake.headers.authorization });
  for (const event of settings.early || []) socket.emit(...event);
  socket.on('disconnect', (reason) => tell({ disconnected: socket.id, reason }));
  socket.on('agent_register', (data) => {
    if (!settings.silent) socket.emit('registration_success', { agent_id: data.agent_id });
  });
  socket.on('join_room', (data) => socket.join(data.room));
  socket.onAny((event, ...args) => {
    const callback = typeof args[args.length - 1] === 'function' ? args.pop() : null;
    if (callback && settings.acknowledge) callback('ok');
    tell({ event, data: args[0], at: Date.now() });
  });
});
let buffered = '';
process.stdin.on('data', (chunk) => {
  buffered += chunk;
  let end;
  while ((end = buffered.indexOf('\n')) >= 0) {
    const order = JSON.parse(buffered.slice(0, end));
    buffered = buffered.slice(end + 1);
    if (order.emit) io.to(order.room).emit(...order.emit);
    if (order.disconnect !== undefined) io.disconnectSockets(order.disconnect);
    if (order.raw) for (const s of io.sockets.sockets.values()) s.conn.transport.socket.send(order.raw);
    if (order.bytes) for (const s of io.sockets.sockets.values()) s.conn.transport.socket._socket.write(Buffer.from(order.bytes, 'hex'));
    if (order.close) io.close(() => process.exit(0));
  }
});
process.stdin.on('end', () => process.exit(0));
http.listen(settings.port || 0, '127.0.0.1', () => tell({ port: http.address().port }));
