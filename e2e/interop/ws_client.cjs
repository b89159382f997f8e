// Drives Node's ws: publishes, and reads on at node after node from the last cursor.
const assert = require('node:assert')
const WebSocket = require('ws')

const nodes = process.env.HIGHWATER_ADDRESSES.split(',')
const headers = { authorization: `Bearer ${process.env.HIGHWATER_KEY}` }
const count = 200

// A connection whose messages are awaited one by one.
class Connection {
  constructor (node) {
    this.messages = []
    this.waiting = []
    this.socket = new WebSocket(`ws://${nodes[node]}/v1/ws`, ['highwater.v1.json'], { headers })
    this.socket.on('message', (data, isBinary) => {
      assert(!isBinary)
      const message = JSON.parse(data)
      const next = this.waiting.shift()
      next ? next(message) : this.messages.push(message)
    })
    this.closed = new Promise(resolve => this.socket.on('close', resolve))
  }

  send (message) { this.socket.send(JSON.stringify(message)) }

  receive () {
    if (this.messages.length) return this.messages.shift()
    return new Promise((resolve, reject) => {
      this.waiting.push(resolve)
      this.socket.once('error', reject)
    })
  }

  static async open (node) {
    const connection = new Connection(node)
    assert.equal((await connection.receive()).type, 'hello')
    assert.equal(connection.socket.protocol, 'highwater.v1.json')
    return connection
  }
}

async function main () {
  const publisher = await Connection.open(0)
  for (let n = 0; n < count; n++) {
    publisher.send({ type: 'publish', id: n, topic: 'node/a', data: { n, 'ä': 'ü'.repeat(n) } })
  }
  for (let n = 0; n < count; n++) assert.equal((await publisher.receive()).offset, n)

  const seen = []
  let from = 'earliest'
  for (let hop = 0; seen.length < count; hop++) {
    const reader = await Connection.open(hop % nodes.length)
    reader.send({ type: 'subscribe', id: 'a', topics: ['node/+'], from })
    assert.equal((await reader.receive()).type, 'subscribed')
    for (const record of (await reader.receive()).records.slice(0, 1 + 7 * hop)) {
      seen.push(JSON.parse(record.data).n)
      from = `cursor:${record.cursor}`
    }
    reader.socket.close(1000)
    assert.equal(await reader.closed, 1000)
  }
  assert.deepEqual(seen, [...Array(count).keys()])

  publisher.send({ type: 'publish', id: 'bad', topic: 'a/#', data: 1 })
  const refused = await publisher.receive()
  assert.deepEqual([refused.type, refused.id, refused.code], ['error', 'bad', 'invalid_topic'])
  publisher.socket.terminate()
  console.log('ok')
}

main().catch(error => { console.error(error); process.exit(1) })
