// The smallest useful backend: a prompt whose lines run on the host of an agent, and `.undo` takes
// them back.
//
//     npm install socket.io@4
//     node backend.js [PORT]                            # 3000 where nothing is said
//     deployx agent --server http://127.0.0.1:3000      # in another terminal
//
// With TOKEN in the environment, agents have to bring it: DEPLOYX_AGENT_TOKEN=… deployx agent …
// All events: src/docs/protocol.md
const readline = require('readline');
const { randomUUID } = require('crypto');
const { Server } = require('socket.io');

const token = process.env.TOKEN;
const port = Number(process.argv[2] || 3000);
// Only this host can reach it. A backend for other hosts needs TLS and a token.
const http = require('http').createServer();
const io = new Server(http);
http.listen(port, '127.0.0.1', () => console.log(`waiting for an agent at http://127.0.0.1:${http.address().port}`));

if (token) {
  io.use((socket, next) => next(socket.handshake.auth.token === token ? undefined : new Error('wrong token')));
}

let agent;               // the agent's socket
const undoable = [];     // ids of snapshots that hold changes, the latest last
const seen = new Set();  // results can come twice: an agent that is not sure sends again

io.on('connection', (socket) => {
  socket.on('agent_register', (told) => {
    agent = socket;
    socket.emit('registration_success', { agent_id: told.agent_id });
    console.log(`${told.device_name} (${told.os}) is there, with ${told.shells.join(', ')}`);
    prompt.prompt();
  });
  socket.on('join_room', ({ room }) => socket.join(room));
  // The acknowledgement lets the agent forget results that have arrived.
  socket.on('agent_heartbeat', (_, acknowledge) => acknowledge && acknowledge());
  socket.on('deployment_command_output', ({ output, stream }) => {
    (stream === 'stderr' ? process.stderr : process.stdout).write(output);
  });
  socket.on('deployment_command_completed', (done) => {
    if (seen.has(done.command_id)) return;
    seen.add(done.command_id);
    if (!done.success) console.log(`# failed: ${done.error.trim()}`);
    const { created = 0, modified = 0, deleted = 0, metadata = 0 } = done.changes || {};
    if (created + modified + deleted + metadata > 0) {
      undoable.push(done.snapshot_id);
      console.log(`# ${created} created, ${modified + metadata} modified, ${deleted} deleted; .undo takes it back`);
    }
    prompt.prompt();
  });
  socket.on('rollback_result', (done) => {
    console.log(`# ${done.message}: ${done.restored} restored, ${done.removed} removed`);
    if (done.error) console.log(`# ${done.error}`);
    for (const { path, error } of done.failures || []) console.log(`  ${path}: ${error}`);
    prompt.prompt();
  });
  socket.on('snapshot_diff_result', (done) => {
    for (const file of done.files || []) console.log(file.text || `${file.change} ${file.path}`);
    if (done.error) console.log(done.error);
    prompt.prompt();
  });
  socket.on('agent_error', (told) => { console.log(`# ${told.event}: ${told.error}`); prompt.prompt(); });
  socket.on('disconnect', (why) => { if (socket === agent) { agent = undefined; console.log(`the agent is away: ${why}`); } });
});

const prompt = readline.createInterface({ input: process.stdin, output: process.stdout, prompt: '$ ' });
prompt.on('line', (line) => {
  const [word, id] = line.trim().split(/\s+/);
  if (!agent) console.log('no agent is connected');
  else if (word === '') prompt.prompt();
  else if (word === '.undo') agent.emit('rollback_command', { snapshot_id: id || undoable.pop() || 'none' });
  else if (word === '.diff') agent.emit('get_snapshot_diff', { snapshot_id: id || undoable[undoable.length - 1] || 'none' });
  // One session: directory, variables and functions last from line to line.
  else agent.emit('execute_deployment_command', { command_id: randomUUID(), command: line, session: 'prompt', shell: 'bash' });
});
prompt.on('close', () => process.exit(0));
