// What can be told without a browser: event streams, the window of a live tail, snippets, charts, durations.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isNear, scaleMax, share } from './chart'
import { parseDuration, showDuration } from './durations'
import { inPath, snippets, topicOf } from './snippets'
import { EventReader } from './stream/events'
import type { Happening } from './stream/follow'
import { payload } from './stream/records'
import { EMPTY, KEPT_MAX, matches, release, take } from './stream/window'

test('an event stream is the same wherever it is cut', () => {
  const text = 'retry: 1500\nid: c0\nevent: subscribed\ndata: {"cursor":"c0"}\n\n:\n\nid: c1\r\ndata: a\r\ndata:b\r\n\r\n' +
    'data\rid: c2\r\revent: nothing\n\nid\ndata: last\n\ndata: never ends'
  const whole = new EventReader().read(text)
  assert.deepEqual(whole, [
    { name: 'subscribed', data: '{"cursor":"c0"}', id: 'c0' },
    { name: 'message', data: 'a\nb', id: 'c1' },
    { name: 'message', data: '', id: 'c2' },
    { name: 'message', data: 'last', id: '' }
  ])
  for (let cut = 0; cut <= text.length; cut++) {
    const reader = new EventReader()
    assert.deepEqual([...reader.read(text.slice(0, cut)), ...reader.read(text.slice(cut))], whole, `cut at ${cut}`)
    assert.equal(reader.retryMs, 1500)
  }
})

function records (from: number, count: number): Happening[] {
  return Array.from({ length: count }, (_, n) => ({
    kind: 'record',
    record: { topic: `t/${from + n}`, offset: from + n, cursor: `c${from + n}`, published_at_ms: 0, data: `m${from + n}` }
  }))
}

test('a live tail is bounded, and holds still while it is paused', () => {
  let window = take(EMPTY, records(0, 3), false)
  assert.deepEqual(window.lines.map(line => line.at), [2, 1, 0])
  window = take(window, [{ kind: 'gap', gap: { requested: 'a', first_available: 'b', reason: 'retention' } }, ...records(3, 2)], true)
  assert.equal(window.lines.length, 3)
  assert.deepEqual(window.held.map(line => line.kind), ['record', 'record', 'gap'])
  window = release(window)
  assert.deepEqual(window.lines.map(line => line.at), [5, 4, 3, 2, 1, 0])
  window = take(window, records(5, 2 * KEPT_MAX), false)
  assert.equal(window.lines.length, KEPT_MAX)
  assert.equal(window.dropped, window.received - KEPT_MAX)
  const shown = window.lines.filter(line => matches(line, `M${4 + 2 * KEPT_MAX}`))
  assert.equal(shown.length, 1)
})

test('a payload that is text is shown as text, whatever it is called', () => {
  const record = { topic: 't', offset: 0, cursor: 'c', published_at_ms: 0 }
  for (const [base64, text] of [['aGVsbG8=', 'hello'], ['w7w=', 'ü'], ['', ''], ['AQID', '3 bytes: AQID'], ['/w==', '1 byte: /w==']] as const) {
    assert.equal(payload({ ...record, data_base64: base64 }), text)
  }
  assert.equal(payload({ ...record, data: '\u0001' }), '\u0001')
})

test('a topic is one that its filter matches', () => {
  for (const [filter, topic] of [['#', 'hello/world'], ['orders/#', 'orders/hello'], ['a/+/c', 'a/one/c'], ['a/b', 'a/b']] as const) {
    assert.equal(topicOf(filter), topic)
  }
  assert.equal(inPath('a b/ü?/c'), 'a%20b/%C3%BC%3F/c')
})

test('snippets say only what the key allows, to the address they are given', () => {
  const reader = snippets('https://node.example', [{ operations: ['subscribe'], topics: "it's/#" }])
  for (const { text } of reader) {
    assert.ok(!/pub|-d hello|Content-Type|Publish/.test(text), text)
    assert.ok(text.startsWith('export HIGHWATER_KEY=…\n'), text)
    assert.ok(text.includes("'\\''") || text.includes('%27') || text.includes("it's"), text)
  }
  const all = snippets('http://127.0.0.1:8080', [{ operations: ['publish', 'subscribe'], topics: '#' }], 'hw_1')
  assert.deepEqual(all.map(({ name }) => name), ['curl', 'Server-sent events', 'WebSocket', 'gRPC', 'MQTT', 'highwater'])
  for (const { text } of all) assert.ok(text.includes('8080') && text.split('\n').length === 3 && text.includes('=hw_1'), text)
})

test('a chart has a scale with round lines', () => {
  for (const [highest, max] of [[0, 2], [1, 2], [7, 8], [11, 12], [21, 24], [12_353, 16_000], [999, 1000]] as const) assert.equal(scaleMax(highest), max)
  assert.equal(scaleMax(4.1 * 1024 ** 2, true), 6 * 1024 ** 2)
  assert.ok(isNear(100, 25) && !isNear(100, 24))
  assert.equal(share(1, 10_000_000), '< 0.1 %')
})

test('durations are read as they are shown', () => {
  for (const text of ['1d', '36h', '90s', '15m', '250ms']) assert.equal(showDuration(parseDuration(text) ?? 0), text)
  assert.equal(parseDuration('1 week'), undefined)
})
