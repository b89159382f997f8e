// Lines to paste for each protocol: they publish and subscribe what the key allows.

import type { Operation, Permission } from './shapes'

export interface Snippet { name: string, text: string }

/** Those of a key. Without a secret, they leave a place for it. */
export function snippets (node: string, permissions: Permission[], secret = '…'): Snippet[] {
  const url = new URL(node)
  const isTls = url.protocol === 'https:'
  const port = url.port || (isTls ? '443' : '80')
  const server = url.origin
  const from = filterOf(permissions, 'subscribe')
  const to = filterOf(permissions, 'publish')
  const topic = to === undefined ? undefined : topicOf(to)
  const bearer = '-H "Authorization: Bearer $HIGHWATER_KEY"'
  const grpc = `grpcurl ${isTls ? '' : '-plaintext '}-H "authorization: Bearer $HIGHWATER_KEY"`
  const mqtt = `-h ${url.hostname} -p ${port}${isTls ? ' --tls-use-os-certs' : ''} -u any -P "$HIGHWATER_KEY"`
  const socket = `websocat -n -H "Authorization: Bearer $HIGHWATER_KEY" ${server.replace(/^http/, 'ws')}/v1/ws`
  const json = (what: unknown) => quoted(JSON.stringify(what))
  const lines = (publish: (topic: string) => string, subscribe: (filter: string) => string) => [
    `export HIGHWATER_KEY=${secret}`,
    ...(from === undefined ? [] : [subscribe(from)]),
    ...(topic === undefined ? [] : [publish(topic)])
  ].join('\n')
  return [
    {
      name: 'curl',
      text: lines(
        topic => `curl ${bearer} -H 'Content-Type: text/plain' -d hello ${quoted(`${server}/v1/messages/${inPath(topic)}`)}`,
        filter => `curl ${bearer} ${quoted(`${server}/v1/messages?topic=${encodeURIComponent(filter)}&from=earliest`)}`
      )
    },
    {
      name: 'Server-sent events',
      text: lines(
        topic => `curl ${bearer} -H 'Content-Type: text/plain' -d hello ${quoted(`${server}/v1/messages/${inPath(topic)}`)}`,
        filter => `curl -N ${bearer} ${quoted(`${server}/v1/sse?topic=${encodeURIComponent(filter)}&from=last:10`)}`
      )
    },
    {
      name: 'WebSocket',
      text: lines(
        topic => `echo ${json({ type: 'publish', id: 2, topic, data: 'hello' })} | ${socket}`,
        filter => `echo ${json({ type: 'subscribe', id: 1, topics: [filter], from: 'last:10' })} | ${socket}`
      )
    },
    {
      name: 'gRPC',
      text: lines(
        topic => `${grpc} -d ${json({ topic, message: { payload: btoa('hello') } })} ${url.hostname}:${port} highwater.client.v1.Highwater/Publish`,
        filter => `${grpc} -d ${json({ topics: [filter], from: 'last:10' })} ${url.hostname}:${port} highwater.client.v1.Highwater/Read`
      )
    },
    {
      name: 'MQTT',
      text: lines(
        topic => `mosquitto_pub ${mqtt} -q 1 -t ${quoted(topic)} -m hello`,
        filter => `mosquitto_sub ${mqtt} -q 1 -t ${quoted(filter)}`
      )
    },
    {
      name: 'highwater',
      text: lines(
        topic => `highwater pub --server ${server} ${quoted(topic)} hello`,
        filter => `highwater sub --server ${server} ${quoted(filter)} --from last:10`
      )
    }
  ]
}

/** The first filter on which something is allowed. */
function filterOf (permissions: Permission[], operation: Operation): string | undefined {
  return permissions.find(permission => permission.operations.includes(operation))?.topics
}

/** A topic that a filter matches. */
export function topicOf (filter: string): string {
  const levels = filter.split('/').map(level => level === '+' ? 'one' : level)
  if (levels.at(-1) === '#') levels[levels.length - 1] = levels.length === 1 ? 'hello/world' : 'hello'
  return levels.join('/')
}

/** A topic as the path of an address has it. */
export function inPath (topic: string): string {
  return topic.split('/').map(encodeURIComponent).join('/')
}

/** A word of the shell, whatever is in it. */
function quoted (text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`
}
