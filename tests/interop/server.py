"""The same as server.js on python-socketio."""
import asyncio, json, ssl, sys
import socketio
from aiohttp import web

settings = json.loads(sys.argv[1])
sio = socketio.AsyncServer(
    async_mode='aiohttp', transports=settings.get('transports') or ['polling', 'websocket'],
    ping_interval=settings.get('pingInterval', 25000) / 1000, ping_timeout=settings.get('pingTimeout', 20000) / 1000)
app = web.Application()
sio.attach(app)


def tell(line):
    sys.stdout.write(json.dumps(line) + '\n')
    sys.stdout.flush()


@sio.event
async def connect(sid, environ, auth):
    if settings.get('token') and (auth or {}).get('token') != settings['token']:
        tell({'refused': True})
        raise ConnectionRefusedError('unauthorized')
    tell({'connected': sid, 'auth': auth, 'header': environ.get('HTTP_AUTHORIZATION')})
    # Goes out right after the answer to the connect, before anything the agent sends is read.
    sio.start_background_task(early, sid)


async def early(sid):
    for event in settings.get('early') or []:
        await sio.emit(*event, to=sid)


@sio.event
async def disconnect(sid):
    tell({'disconnected': sid})


@sio.on('*')
async def anything(event, sid, data=None):
    tell({'event': event, 'data': data, 'at': asyncio.get_event_loop().time() * 1000})
    if event == 'agent_register' and not settings.get('silent'):
        await sio.emit('registration_success', {'agent_id': data['agent_id']}, to=sid)
    if event == 'join_room':
        await sio.enter_room(sid, data['room'])


async def orders():
    reader = asyncio.StreamReader(limit=1 << 28)
    await asyncio.get_event_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        order = json.loads(line)
        if 'emit' in order:
            await sio.emit(order['emit'][0], *order['emit'][1:], room=order['room'])
        if 'disconnect' in order or 'close' in order:
            for sid in list(sio.manager.rooms.get('/', {}).get(None, {})):
                await sio.disconnect(sid)
        if 'close' in order:
            break
    await sio.shutdown()
    sys.exit(0)


async def main():
    context = None
    if settings.get('cert'):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(settings['cert'], settings['key'])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, '127.0.0.1', settings.get('port', 0), ssl_context=context)
    await site.start()
    tell({'port': site._server.sockets[0].getsockname()[1]})
    await orders()

asyncio.run(main())
