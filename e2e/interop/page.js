// What the page does in the browser. It tells its server what it sees, in order.
/* global EventSource, WebSocket, fetch, proto, protobuf, grpcWeb */

let telling = Promise.resolve()

function tell (what) {
  const body = JSON.stringify(what)
  telling = telling.then(() => fetch('/tell', { method: 'POST', body }))
}

// An EventSource that is left alone: the browser reconnects by itself.
function events ({ url }) {
  const source = new EventSource(url, { withCredentials: true })
  source.onmessage = event => tell({ id: event.lastEventId, record: JSON.parse(event.data) })
  source.addEventListener('subscribed', event => tell({ subscribed: event.lastEventId }))
  source.addEventListener('gap', event => tell({ failed: event.data }))
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) tell({ failed: 'the browser gave up' })
    else tell({ lost: true })
  }
}

// A WebSocket with a ticket: publishes, and is sent what it has published.
async function socket ({ url, count }) {
  const connection = new WebSocket(url, ['highwater.v1.json'])
  const received = []
  connection.onclose = event => { if (received.length < count) tell({ failed: `closed: ${event.code}` }) }
  connection.onmessage = event => {
    const message = JSON.parse(event.data)
    if (message.type === 'hello') {
      connection.send(JSON.stringify({ type: 'subscribe', id: 1, topics: ['socket/#'], from: 'earliest' }))
    } else if (message.type === 'subscribed') {
      for (let n = 0; n < count; n++) {
        connection.send(JSON.stringify({ type: 'publish', id: n, topic: 'socket/a', data: { n } }))
      }
    } else if (message.type === 'message') {
      received.push(...message.records.map(record => JSON.parse(record.data).n))
      if (received.length === count) tell({ received })
    } else if (message.type !== 'published') {
      tell({ failed: message })
    }
  }
}

// gRPC-web as its own client speaks it: publishes and reads.
async function grpc ({ host, key, count }) {
  const root = protobuf.parse(proto).root
  const client = new grpcWeb.GrpcWebClientBase({ format: 'binary' })
  const call = (method, request, answer, fields, metadata) => {
    const [Request, Response] = [request, answer].map(name => root.lookupType(`highwater.client.v1.${name}`))
    const path = `/highwater.client.v1.Highwater/${method}`
    const descriptor = new grpcWeb.MethodDescriptor(path, 'unary', Object, Object,
      message => Request.encode(Request.fromObject(message)).finish(),
      bytes => Response.toObject(Response.decode(new Uint8Array(bytes)), { longs: Number, bytes: String, defaults: true }))
    return client.unaryCall(host + path, fields, metadata, descriptor)
  }
  const metadata = { authorization: `Bearer ${key}` }
  for (let n = 0; n < count; n++) {
    const message = { payload: new TextEncoder().encode(`m${n}`), contentType: 'text/plain' }
    const result = await call('Publish', 'PublishRequest', 'PublishResult', { topic: 'web/a', message }, metadata)
    if (result.offset !== n) throw new Error(JSON.stringify(result))
  }
  const page = await call('Read', 'ReadRequest', 'ReadResponse', { topics: ['web/+'] }, metadata)
  const refused = await call('Read', 'ReadRequest', 'ReadResponse', { topics: ['web/+'] }, {}).catch(error => error.code)
  tell({ payloads: page.records.map(record => atob(record.payload)), refused })
}

function start (run, parameters) {
  const runs = { events, socket, grpc }
  Promise.resolve().then(() => runs[run](parameters)).catch(error => tell({ failed: String(error && error.stack) }))
  window.onerror = message => tell({ failed: message })
}
