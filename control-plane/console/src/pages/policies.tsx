// How the topics of a project are kept: a list of policies, of which the first that matches decides.

import { useRef, useState } from 'preact/hooks'
import { ask } from '../api'
import { parseDuration, showDuration } from '../durations'
import { useLoaded } from '../load'
import type { TopicPolicy } from '../shapes'
import { announce } from '../ui/announce'
import { Form, TextField } from '../ui/form'
import { Show } from '../ui/loaded'

/** A policy as it is typed. */
interface Typed { id: number, filter: string, age: string, records: string, bytes: string, last: boolean, must: boolean }

export function Policies ({ path }: { path: string }) {
  const policies = useLoaded(signal => ask<{ policies: TopicPolicy[] }>('GET', `${path}/topic-policies`, { signal }), [path])
  return (
    <section aria-labelledby="policies">
      <h2 id="policies">Topic policies</h2>
      <p>The first whose filter matches a topic decides how it is kept. What is left empty is without limit.</p>
      <Show of={policies}>
        {({ value, etag }) => <Editor key={etag ?? ''} path={path} etag={etag} of={value.policies} onSaved={policies.reload} />}
      </Show>
    </section>
  )
}

interface Edited { path: string, etag: string | null, of: TopicPolicy[], onSaved: () => void }

function Editor ({ path, etag, of, onSaved }: Edited) {
  const next = useRef(of.length)
  const [rows, setRows] = useState(() => of.map(typed))
  const set = (at: number, to: Partial<Typed>) => setRows(rows.map((row, n) => n === at ? { ...row, ...to } : row))
  const move = (at: number, to: number) => {
    const moved = rows.slice()
    moved.splice(to, 0, ...moved.splice(at, 1))
    setRows(moved)
    announce(`Policy ${at + 1} is now policy ${to + 1}`)
  }
  const save = async () => {
    await ask('PUT', `${path}/topic-policies`, { body: { policies: rows.map(meant) }, etag })
    announce('Saved')
    onSaved()
  }
  return (
    <Form act="Save" submit={save}>
      {rows.length === 0 && <p class="empty">There are none: topics are made when they are first published to, and kept as the service does by itself.</p>}
      <ol class="policies">
        {rows.map((row, at) => (
          <li key={row.id}>
            <fieldset>
              <legend>Policy {at + 1}</legend>
              <div class="columns">
                <TextField label="Topics" name={`filter-${row.id}`} mono required value={row.filter} onInput={filter => set(at, { filter })} />
                <TextField label="Age" hint="of a record: 90s, 12h, 30d" name={`age-${row.id}`} pattern="\s*\d+\s*(ms|s|m|h|d)\s*" value={row.age} onInput={age => set(at, { age })} />
                <TextField label="Records" hint="of a topic" name={`records-${row.id}`} type="number" min={1} value={row.records} onInput={records => set(at, { records })} />
                <TextField label="Bytes" hint="of a topic" name={`bytes-${row.id}`} type="number" min={1} value={row.bytes} onInput={bytes => set(at, { bytes })} />
              </div>
              <div class="checks">
                <label class="check"><input type="checkbox" checked={row.last} onChange={event => set(at, { last: event.currentTarget.checked })} /> Keep only the newest record of each key</label>
                <label class="check"><input type="checkbox" checked={row.must} onChange={event => set(at, { must: event.currentTarget.checked })} /> Refuse topics that do not exist</label>
              </div>
              <div class="buttons">
                <button type="button" disabled={at === 0} onClick={() => move(at, at - 1)}>Earlier<span class="unseen">: policy {at + 1}</span></button>
                <button type="button" disabled={at === rows.length - 1} onClick={() => move(at, at + 1)}>Later<span class="unseen">: policy {at + 1}</span></button>
                <button type="button" onClick={() => setRows(rows.filter((_, n) => n !== at))}>Remove<span class="unseen"> policy {at + 1}</span></button>
              </div>
            </fieldset>
          </li>
        ))}
      </ol>
      <button type="button" onClick={() => setRows([...rows, typed({ filter: '' }, next.current++)])}>Add policy</button>
    </Form>
  )
}

function typed (policy: TopicPolicy, id: number): Typed {
  return {
    id,
    filter: policy.filter,
    age: policy.retention_ms === undefined ? '' : showDuration(policy.retention_ms),
    records: policy.retention_records?.toString() ?? '',
    bytes: policy.retention_bytes?.toString() ?? '',
    last: policy.last_value ?? false,
    must: policy.must_exist ?? false
  }
}

function meant (row: Typed): TopicPolicy {
  const number = (text: string) => text.trim() === '' ? undefined : Number(text)
  return {
    filter: row.filter.trim(),
    retention_ms: parseDuration(row.age),
    retention_records: number(row.records),
    retention_bytes: number(row.bytes),
    last_value: row.last,
    must_exist: row.must
  }
}
