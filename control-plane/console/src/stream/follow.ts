// A subscription that goes on: over the end of a stream, of a token and of a node, from the last cursor.

import { Problem } from '../api'
import { type DataPlane, NodeProblem } from './data-plane'
import { EventReader, type StreamEvent } from './events'
import type { Gap, StreamRecord } from './records'

export type Happening =
  | { kind: 'record', record: StreamRecord }
  | { kind: 'gap', gap: Gap }
  | { kind: 'open', cursor: string }
  | { kind: 'lost', problem: Problem, retryMs: number }

const RETRY_MS = 1_000
const RETRY_MS_MAX = 15_000

/** Follows until the signal, or until it is refused for good: then it throws the refusal. */
export async function follow (
  plane: DataPlane,
  filter: string,
  from: string,
  signal: AbortSignal,
  on: (happenings: Happening[], cursor: string) => void
): Promise<void> {
  let cursor = ''
  let failures = 0
  while (!signal.aborted) {
    let problem: Problem
    let retryMs = RETRY_MS
    try {
      const response = await plane.subscribe(filter, cursor === '' ? from : `cursor:${cursor}`, signal)
      failures = 0
      const ended = await read(response, event => {
        if (event.id !== '') cursor = event.id
        if (event.name === 'auth-expiring') void plane.renew(filter, String(parsed(event).refresh), signal)
        return meant(event)
      }, happenings => on(happenings, cursor))
      problem = ended.problem
      retryMs = ended.retryMs
    } catch (error) {
      problem = Problem.from(error)
      if (signal.aborted) return
      failures++
    }
    if (signal.aborted) return
    if (!mayPass(problem)) throw problem
    retryMs = Math.min(retryMs * 2 ** Math.max(0, failures - 1), RETRY_MS_MAX)
    on([{ kind: 'lost', problem, retryMs }], cursor)
    await pause(retryMs, signal)
  }
}

interface Ended { problem: Problem, retryMs: number }

/** Reads a stream to its end, and says why it ended. */
async function read (
  response: Response,
  take: (event: StreamEvent) => Happening | undefined,
  tell: (happenings: Happening[]) => void
): Promise<Ended> {
  const events = new EventReader()
  let problem = new Problem('The connection was lost', '')
  const body = response.body?.getReader()
  const text = new TextDecoder()
  try {
    for (;;) {
      const chunk = await body?.read()
      if (!chunk || chunk.done) break
      const happenings: Happening[] = []
      for (const event of events.read(text.decode(chunk.value, { stream: true }))) {
        if (event.name === 'end') problem = new Problem('The node is stopping', 'Another one goes on.')
        if (event.name === 'error') problem = refusal(event)
        const happening = take(event)
        if (happening) happenings.push(happening)
      }
      if (happenings.length > 0) tell(happenings)
    }
  } catch {
    // A connection that breaks is one that ends.
  }
  return { problem, retryMs: events.retryMs ?? RETRY_MS }
}

function meant (event: StreamEvent): Happening | undefined {
  if (event.name === 'message') return { kind: 'record', record: JSON.parse(event.data) as StreamRecord }
  if (event.name === 'gap') return { kind: 'gap', gap: JSON.parse(event.data) as Gap }
  if (event.name === 'subscribed') return { kind: 'open', cursor: event.id }
}

function parsed (event: StreamEvent): Record<string, unknown> {
  return JSON.parse(event.data) as Record<string, unknown>
}

function refusal (event: StreamEvent): Problem {
  const body = parsed(event)
  const text = (name: string) => String(body[name] ?? '')
  return NodeProblem.ofNode(new Problem(text('title'), text('detail'), Number(body.status), text('code')))
}

/** Whether it makes sense to come back: a credential is made anew, and what is overloaded may pass. */
function mayPass (problem: Problem): boolean {
  return problem.status === 0 || problem.status === 401 || problem.status === 408 || problem.status === 429 || problem.status >= 500
}

function pause (ms: number, signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    const timer = setTimeout(resolve, ms)
    signal.addEventListener('abort', () => { clearTimeout(timer); resolve() }, { once: true })
  })
}
