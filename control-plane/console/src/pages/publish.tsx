// The form that publishes one message.

import { useState } from 'preact/hooks'
import { Problem } from '../api'
import type { DataPlane } from '../stream/data-plane'
import type { PublishResult } from '../stream/records'
import { Copy } from '../ui/bits'
import { Field, TextField, text } from '../ui/form'
import { Refused } from './live'

interface Publishing { plane: DataPlane, topic: string, path: string, onAllowed: () => void }

export function Publish ({ plane, topic, path, onAllowed }: Publishing) {
  const [isBusy, setBusy] = useState(false)
  const [result, setResult] = useState<PublishResult>()
  const [problem, setProblem] = useState<Problem>()
  const submit = async (event: SubmitEvent) => {
    event.preventDefault()
    if (isBusy) return
    setBusy(true)
    setProblem(undefined)
    setResult(undefined)
    try {
      const data = new FormData(event.target as HTMLFormElement)
      const body = String(data.get('payload') ?? '')
      setResult(await plane.publish(text(data, 'topic'), headersOf(data, body), body))
    } catch (error) {
      setProblem(Problem.from(error))
    }
    setBusy(false)
  }
  return (
    <section class="publish" aria-labelledby="publish">
      <h2 id="publish">Publish</h2>
      <form onSubmit={submit}>
        <TextField label="Topic" name="topic" mono required value={topic} />
        <Field label="Payload" hint="Control and Enter publish it.">
          {(id, hintId) => (
            <textarea id={id} name="payload" class="mono" rows={4} aria-describedby={hintId} spellcheck={false} onKeyDown={sendByKey} defaultValue={'{"hello": "world"}'} />
          )}
        </Field>
        <details>
          <summary>More</summary>
          <Field label="Content type" hint="JSON or text, as it looks, when it is empty.">
            {(id, hintId) => <input id={id} name="type" class="mono" aria-describedby={hintId} autocomplete="off" />}
          </Field>
          <TextField label="Key" name="key" hint="Of the record, for topics that keep the newest of each." />
          <TextField label="Lives for" name="ttl" hint="30s, 5m, 2h, 1d; as long as the topic keeps it when it is empty." pattern="\s*\d+\s*(ms|s|m|h|d)?\s*" />
          <label class="check"><input type="checkbox" name="retain" value="true" /> The topic’s retained record</label>
        </details>
        <div class="buttons"><button type="submit" class="main" aria-busy={isBusy}>Publish</button></div>
      </form>
      <div role="status">
        {result && (
          <p class="done">
            Durable in <code>{result.topic}</code> at offset {result.offset.toLocaleString()}. <Copy text={result.cursor} what="Copy its cursor" />
          </p>
        )}
      </div>
      {problem && <Refused problem={problem} plane={plane} path={path} onAllowed={() => { setProblem(undefined); onAllowed() }} />}
    </section>
  )
}

function sendByKey (event: KeyboardEvent) {
  if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey)) return
  event.preventDefault()
  ;(event.currentTarget as HTMLTextAreaElement).form?.requestSubmit()
}

function headersOf (data: FormData, body: string): Record<string, string> {
  const headers: Record<string, string> = { 'Content-Type': text(data, 'type') || looksLike(body) }
  const more = { 'Highwater-Key': text(data, 'key'), 'Highwater-TTL': text(data, 'ttl').replace(/\s/g, ''), 'Highwater-Retain': text(data, 'retain') }
  for (const [name, value] of Object.entries(more)) if (value !== '') headers[name] = value
  return headers
}

function looksLike (body: string): string {
  try {
    JSON.parse(body)
    return 'application/json'
  } catch {
    return 'text/plain; charset=utf-8'
  }
}
